"""Later traffic compared with the traffic that a model was evaluated on."""
