"""The verbs that describe the product from its own code: columns and settings."""
