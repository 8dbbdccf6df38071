"""Hunts: what a new seizure, a warning or a changed result says of consignments that are in hand or have passed."""
