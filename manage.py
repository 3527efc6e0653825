#!/usr/bin/env python
"""Django's command line, and `serve`."""

from __future__ import annotations

import sys

from inference_site.cli import main

if __name__ == "__main__":
    sys.exit(main())
