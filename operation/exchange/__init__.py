"""Messages between administrations: drafts, reports, and the folder of files."""
