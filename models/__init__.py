"""The risk model with its calibration, reasons, bundle and registry."""
