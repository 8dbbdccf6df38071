"""The whole loop replayed for several selection policies."""
