"""Postal declarations, the house data sets of EU ICS2, feeds read by a mapping file, and the answers of customs to them."""
