"""Release-sized storms; each writes its file in docs/reliability/.

python -m tests.storms limits | disconnects | revocation [--seed 1] [--count 1000]
    python -m tests.storms soak [--minutes 30]
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import redis_binary
from tests.storms import disconnects, limits, revocation, soak


@contextmanager
def own_redis() -> Iterator[str]:
    """URL of a private Redis for as long as the block lasts."""
    folder = tempfile.mkdtemp(prefix="pgd-", dir="/tmp")
    command = [redis_binary(), "--port", "0", "--unixsocket", f"{folder}/redis.sock"]
    process = subprocess.Popen([*command, "--dir", folder, "--save", ""], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield f"unix://{folder}/redis.sock"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.storms")
    parser.add_argument("which", choices=["limits", "disconnects", "revocation", "soak"])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--count", type=int, default=0, help="how many; default: the release size")
    parser.add_argument("--rate", type=float, default=80, help="disconnects a second")
    parser.add_argument("--minutes", type=float, default=30, help="of the soak")
    asked = parser.parse_args()
    if asked.which == "limits":
        with own_redis() as url:
            figures = limits.main(url, asked.seed, asked.count or 1000)
    elif asked.which == "revocation":
        figures = revocation.main(asked.seed, asked.count or 400)
    elif asked.which == "soak":
        figures = soak.main(asked.seed, asked.minutes)
    else:
        count = asked.count or 20_000
        figures = disconnects.main(asked.seed, count, count // 40, asked.rate)
    for name, value in figures.items():
        print(f"{name}: {value}")  # noqa: T201 - the command's answer
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
