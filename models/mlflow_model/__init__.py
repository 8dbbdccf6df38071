"""The registered model in MLflow's format: its folder, its signature and its loader."""
