"""The encrypted, hash-chained event log."""
