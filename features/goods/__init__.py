"""Text of goods and HS codes to numbers."""
