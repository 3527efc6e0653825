"""`python -m engine.kernels.cpu [FOLDER]`: build the kernels now, so that no start waits for it."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.kernels.cpu import DEFAULT_CACHE
from engine.kernels.cpu.build import NoCompiler, build_library


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]) if arguments else DEFAULT_CACHE
    try:
        sys.stdout.write(f"CPU kernels: {build_library(folder.expanduser())}\n")
    except NoCompiler as error:
        sys.stderr.write(f"CPU kernels not compiled, torch will compute instead: {error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
