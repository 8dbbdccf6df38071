"""Evaluation on later time, with intervals, and checks of whether the figures are reliable."""
