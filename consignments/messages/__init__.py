"""Real messages of post and air cargo, read into consignments."""
