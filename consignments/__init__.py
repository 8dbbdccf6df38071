"""Records of consignments, inspection outcomes and alerts: definition, validation, reading and writing."""
