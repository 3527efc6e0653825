"""compute-sanitizer over one small launch of each kernel: no bad access, no race."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import torch

SANITIZER = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.skipif(shutil.which(SANITIZER) is None, reason="needs compute-sanitizer"),
    pytest.mark.timeout(600),
]


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_no_kernel_is_accused(tool: str) -> None:
    done = subprocess.run(
        [SANITIZER, "--tool", tool, "--error-exitcode", "9", "--kernel-regex", "kns=_kernel",
         sys.executable, "-m", "tests.gpu.kernels.every_kernel"],
        env=os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},  # each tensor has its own bounds
        capture_output=True, text=True, timeout=550,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "all ran" in said, said[-3000:]
    assert done.returncode == 0, said[-3000:]
