"""Rules of HTTP and JSON that the libraries do not enforce."""
