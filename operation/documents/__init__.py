"""Documents of an operation: brief, plan and debrief."""
