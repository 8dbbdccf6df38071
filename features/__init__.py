"""From a consignment to numbers: each feature defined once, for a million rows and for one."""
