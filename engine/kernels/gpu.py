"""Triton where it is installed; elsewhere stand-ins, so that kernel files import without it."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from engine.errors import EngineStartError

__all__ = [
    "FLOOR", "INTERPRETED", "LOG2E", "UPCAST", "VERSION",
    "ceil_div", "dependent", "follow", "on_gpu", "pad", "tl", "triton",
]  # fmt: skip


class _Absent:
    """Answers to every name; as a decorator it returns the function unchanged."""

    def __getattr__(self, name: str) -> _Absent:
        return self

    def __call__(self, value: Any = None, **_: Any) -> Any:
        return value


try:
    import triton
    import triton.language as tl

    INTERPRETED = bool(triton.knobs.runtime.interpret)
    VERSION = ".".join(triton.__version__.split(".")[:2])
except ImportError:  # no wheel for this platform: the reference and C paths remain
    triton = tl = _Absent()
    INTERPRETED, VERSION = False, ""

# The interpreter holds bf16 as 16-bit integers and multiplies those: operands go up to float32.
UPCAST = tl.constexpr(INTERPRETED)
LOG2E = tl.constexpr(1.4426950408889634)
FLOOR = tl.constexpr(-1.0e30)  # "no score yet": finite, so that a difference of two stays a number


@triton.jit
def follow(DEPENDENT: tl.constexpr):
    """Wait until the launch before this one has ended, then let the next one start and wait so.

    What comes before this call runs beside the launch before: it may read weights, nothing else.
    Every program calls it, also one that has nothing to do, so that an ended launch says that all
    before it have ended.
    """
    if DEPENDENT:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()


def dependent(x: Tensor) -> dict[str, bool]:
    """Options of a kernel that calls `follow`: launched early where the device knows how."""
    if _launches_early(x.device):
        return {"DEPENDENT": True, "launch_pdl": True}
    return {"DEPENDENT": False}


@cache
def _launches_early(device: torch.device) -> bool:
    if device.type != "cuda" or INTERPRETED:
        return False
    return torch.cuda.get_device_capability(device) >= (9, 0)


def on_gpu(x: Tensor) -> bool:
    """Whether this tensor belongs to the kernels. A CUDA tensor without Triton is an error."""
    if x.is_cuda and not VERSION:
        raise EngineStartError(
            "This engine runs its GPU kernels through Triton, which is not installed.",
            "Install triton 3.6 or newer, or start with device cpu.",
        )
    return x.is_cuda


def pad(size: int, least: int = 1) -> int:
    """The smallest power of two that is at least `size` and `least`."""
    return max(least, 1 << (size - 1).bit_length())


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)
