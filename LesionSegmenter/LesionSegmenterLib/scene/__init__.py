"""A lesion map as Slicer shows it: a MRML segmentation, its files, and what the user paints in it."""
