"""Shadow mode: a challenger scores the same traffic, and its results are only logged."""
