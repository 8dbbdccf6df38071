"""What is known of goods before any feature: vague descriptions, and the headings of the Harmonized System."""
