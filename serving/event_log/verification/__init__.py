"""Verification of the event log: its hash chain, what is derived from its entries, and both at a start."""
