"""Settings, clock, threads, files and log lines of the process."""
