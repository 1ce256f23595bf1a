"""Training of LesionSegmenter models: data, synthesis, recipes, trainer and evaluation."""
