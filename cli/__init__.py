"""The verbs of the command line, one file for each thing they serve; npsrisk.py loads the file of the verb asked for."""

from consignments import refuse_hidden_packages

refuse_hidden_packages("features", "models", "training", "serving", "operation")
