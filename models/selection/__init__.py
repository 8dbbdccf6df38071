"""Selection of the consignments to inspect, with their probabilities, and the recall that inspections prove."""
