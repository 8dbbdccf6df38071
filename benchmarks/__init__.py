"""Benchmarks for the figures in docs/benchmarks.md; the first lines of each script show its command."""
