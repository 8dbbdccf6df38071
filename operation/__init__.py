"""An operation's life: exchange with partners, its documents, hunts, and the desk of the officers."""
