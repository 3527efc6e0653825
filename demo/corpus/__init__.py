"""Seeded grammar generator of the demo model's training and held-out conversations."""
