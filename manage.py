#!/usr/bin/env python
"""Django's command line. `serve` starts the launcher, which imports no Django."""

from __future__ import annotations

import os
import sys

from engine.settings import SettingError


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_site.settings")
    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
