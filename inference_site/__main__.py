"""`python -m inference_site COMMAND`: Django's commands where manage.py was not installed."""

from __future__ import annotations

import sys

from inference_site.cli import django_command

if __name__ == "__main__":
    sys.exit(django_command(sys.argv[1:]))
