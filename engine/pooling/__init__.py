"""Models that answer with vectors: what a request may ask, how hidden states become vectors."""
