"""Decides what each step computes. Pure Python: no torch, no Redis."""
