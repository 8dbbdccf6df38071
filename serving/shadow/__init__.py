"""A challenger that scores the same traffic and answers nobody."""
