"""Compile launches for a GPU that is not there, through the launchers themselves.

A stand-in driver answers Triton's questions about the device, and every `kernel[grid](…)` is
turned into a warm-up, so signature, alignment and constants are those of a real launch. The cubin's
resource usage is read with the cuobjdump that comes with Triton. Import in a process without
TRITON_INTERPRET.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from engine.kernels import gpu

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}  # bytes one program may have


@dataclass(frozen=True, slots=True)
class Usage:
    """What one compiled kernel takes."""

    kernel: str
    capability: int
    registers: int  # per thread
    spilled: int  # bytes of stack and local memory per thread
    shared: int  # bytes per program
    warps: int

    @property
    def programs_per_sm(self) -> int:
        """How many fit one multiprocessor by registers (64 Ki), shared memory and warps (64)."""
        by_registers = 65536 // (self.registers * 32 * self.warps)
        by_shared = (SHARED_LIMIT[self.capability] + 1024) // (self.shared + 1024)
        return min(by_registers, by_shared, 64 // self.warps, 32)


def compile_for(capability: int, launch: Callable[[], Any]) -> list[Usage]:
    """Run a launcher with CPU tensors; its kernels are compiled for sm_<capability>, not run."""
    compiled: list[Any] = []

    def warm(self: JITFunction, grid: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            compiled.append(self.run(*args, grid=grid, warmup=True, **kwargs))

        return call

    original = JITFunction.__getitem__
    driver.set_active(_absent_device(capability))
    JITFunction.__getitem__ = warm
    try:
        with mock.patch.object(gpu, "_launches_early", return_value=capability >= 90):
            launch()
    finally:
        JITFunction.__getitem__ = original
        driver.set_active(None)  # asked anew at the next use
    return [_usage(kernel, capability) for kernel in compiled]


def _absent_device(capability: int) -> SimpleNamespace:
    return SimpleNamespace(
        get_current_device=lambda: capability,  # one cache of compiled kernels per target
        get_current_stream=lambda device: 0,
        get_current_target=lambda: GPUTarget("cuda", capability, 32),
        get_active_torch_device=lambda: None,
    )


def _usage(kernel: Any, capability: int) -> Usage:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        text = subprocess.run(
            [os.fspath(CUOBJDUMP), "-res-usage", file.name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    numbers = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}
    return Usage(
        kernel=kernel.metadata.name,
        capability=capability,
        registers=numbers["REG"],
        spilled=numbers["STACK"] + numbers["LOCAL"],
        shared=kernel.metadata.shared,
        warps=kernel.metadata.num_warps,
    )
