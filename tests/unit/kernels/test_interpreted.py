"""Each kernel against its reference, in Triton's interpreter.

More shapes: tests/volume/test_interpreted.py.
"""

from __future__ import annotations

import pytest

from tests.unit.kernels.apart import LIMIT_S, interpreted


@pytest.mark.timeout(LIMIT_S)
def test_every_kernel_equals_its_reference_in_the_interpreter() -> None:
    interpreted("not volume")
