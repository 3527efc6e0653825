"""Each kernel against its reference, in Triton's interpreter."""

from __future__ import annotations

import pytest

from tests.unit.kernels.apart import LIMIT_S, run


@pytest.mark.timeout(LIMIT_S)
def test_every_kernel_equals_its_reference_in_the_interpreter() -> None:
    suite = "tests/unit/kernels/interpreted"
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", suite, TRITON_INTERPRET="1")
