"""Alerts of partners: their patterns and indicators, compared with consignments."""
