"""What the figures in docs/benchmarks.md are made with; each script says its command in its first lines."""
