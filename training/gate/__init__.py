"""The promotion gate: its rules, and the recommendation for the reviewer."""
