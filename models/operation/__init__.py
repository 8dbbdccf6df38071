"""An operation with partners: yields of alerts, hunts, and drafts of messages, for commands and for pages."""
