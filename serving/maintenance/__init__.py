"""The verbs that read or change a log while nobody is served."""
