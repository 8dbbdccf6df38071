"""Features on several machines: keys laid out by kind and bucket, one task for each, results joined by row."""
