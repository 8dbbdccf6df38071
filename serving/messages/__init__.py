"""Messages that the service receives: read by its mappings, and linked with those before them."""
