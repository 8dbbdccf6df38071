"""Model releases, and the publisher that writes them."""
