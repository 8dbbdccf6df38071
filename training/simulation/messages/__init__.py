"""Simulated consignments written as messages of each format that a reader knows."""
