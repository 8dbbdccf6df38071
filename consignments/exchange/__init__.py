"""Messages between administrations in an operation: their documents, their checks, and the alerts that they become."""
