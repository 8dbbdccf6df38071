"""Features of goods texts and HS codes."""
