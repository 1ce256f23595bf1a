"""What each benchmark measures; ``Testing/benchmark.py`` runs them all."""
