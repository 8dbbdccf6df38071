"""What is learnt and decided: the risk model, its calibration, reasons, bundle and registry."""
