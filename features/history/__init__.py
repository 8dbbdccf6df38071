"""History features: counts of earlier consignments by key."""
