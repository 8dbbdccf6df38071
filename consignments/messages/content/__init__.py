"""Content that readers of several formats share: trees of XML and JSON, values in them, countries."""
