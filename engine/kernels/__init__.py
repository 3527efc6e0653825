"""One file per op: docstring, torch reference, kernel, launcher."""
