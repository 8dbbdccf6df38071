"""How well a model does on later time, and whether the figure can be believed."""
