"""Structured output: what an answer may look like, from a request's field to a mask of tokens.

`outputs.py` and the checks beside it are torch-free and run in the web process too. `compiler.py`
turns a checked form into a grammar in a process that may be killed; `matcher.py` follows one row.
"""
