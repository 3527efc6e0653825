"""`python -m inference_site VERB`: the `pagoda` command where its script is not on the path."""

from __future__ import annotations

import sys

from inference_site.cli import main

if __name__ == "__main__":
    sys.exit(main())
