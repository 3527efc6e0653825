"""Fuzz one target with atheris: `python -m tests.fuzz.one TARGET [libFuzzer's options]`.

The modules that are tried are instrumented as they are imported, so that inputs which reach new
code are kept and changed further.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["apps.api", "engine"]):
    from tests.fuzz import targets


def main() -> None:
    atheris.Setup([sys.argv[0], *sys.argv[2:]], targets.TARGETS[sys.argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
