"""Facts about goods that no feature computes: vague descriptions, and the headings of the Harmonized System."""
