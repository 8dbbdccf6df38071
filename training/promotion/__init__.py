"""Two versions compared, the gate, and the promotion."""
