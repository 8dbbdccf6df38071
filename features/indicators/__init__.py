"""Keyed indicators: identifiers of a seizure that partners share as keyed hashes, and their comparison with consignments."""
