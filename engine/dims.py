"""Letters of the shape suffixes, defined once: `q_THD` is a tensor of shape [T, H, D].

T tokens of the flat batch · S sequences of a step · N cache blocks · B tokens per block ·
H query heads · G key/value heads · D head size · E model width · F feed-forward width ·
V vocabulary · L layers · A adapter slots · R adapter rank · M blocks per sequence (table width).
A suffix `_cpu` marks a tensor that must live on the host.
"""
