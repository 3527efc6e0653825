"""Checkpoints: what a model is made of (`ModelSpec`) and how its weights are read."""
