"""Fits of boosted trees, of their prior and their linear part with LightGBM and scikit-learn, and of the baselines."""
