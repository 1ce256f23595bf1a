"""The engine: a FLAIR volume in, a lesion probability map on the same grid out."""
