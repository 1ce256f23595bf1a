"""LesionSegmenter: brain-lesion segmentation that clinicians can correct."""

__version__ = "0.11.0"
