"""Settings, clock, threads, state directory and log lines of the process."""
