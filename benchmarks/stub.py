"""The fake engine with the speed a row asks for: `PAGODA_ENGINE_COMMAND=benchmarks.stub`."""

from __future__ import annotations

import os
import sys

from engine.daemon import main_of_fake

if __name__ == "__main__":
    raise SystemExit(main_of_fake([*sys.argv[1:], *os.environ["STUB_FLAGS"].split()]))
