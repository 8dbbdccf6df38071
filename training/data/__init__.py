"""From tables to a training set: labels, weights, splits by time."""
