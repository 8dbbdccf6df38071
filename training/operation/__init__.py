"""The documents of an operation: what to expect before it, the plan, and what it brought."""
