"""From a checked consignment to a score."""
