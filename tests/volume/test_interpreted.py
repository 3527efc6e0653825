"""Attention in Triton's interpreter, in the shapes that `make test` leaves out."""

from __future__ import annotations

import pytest

from tests.unit.kernels.apart import LIMIT_S, interpreted


@pytest.mark.timeout(LIMIT_S)
def test_the_other_shapes_equal_their_reference_in_the_interpreter() -> None:
    interpreted("volume")
