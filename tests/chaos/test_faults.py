"""Each disturbance of `faults.SCENARIOS` once: whoever asked is answered, and all books agree."""

from __future__ import annotations

import pytest

from tests.chaos.faults import SCENARIOS, faults, one


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SCENARIOS)
def test_books_agree_after(name):
    counts = one(name)
    assert faults(counts) == {}
    assert counts["whole"] > 20
