"""The module's panel in Slicer: one file a section, all on one `CaseReview`."""
