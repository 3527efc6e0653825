"""Turns a plan into tensors, runs the model, samples."""
