"""Synthetic FLAIR heads and lesions with known truth, for the demo, for tests and for training."""
