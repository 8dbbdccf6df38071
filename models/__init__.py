"""The risk model with its calibration, reasons, bundle and registry."""

from consignments import refuse_hidden_packages

refuse_hidden_packages("features")
