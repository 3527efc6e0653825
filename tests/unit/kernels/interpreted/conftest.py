"""These tests run in Triton's interpreter, chosen before its import: see ../apart.py."""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["test_*.py"]
