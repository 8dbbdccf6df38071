"""The dossier of a model version: one document with what four public forms ask for, and with what is still to be filled."""
