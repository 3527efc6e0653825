"""Owns KV blocks: who holds which, which may be shared, which may be evicted. Pure Python."""
