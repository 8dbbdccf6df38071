"""What is scored: consignments, what was found in them, and what partners warn of."""
