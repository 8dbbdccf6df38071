"""Building the training set from tables: labels, weights, splits by time."""
