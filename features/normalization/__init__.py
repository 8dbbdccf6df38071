"""Normal forms of names, addresses and phones."""
