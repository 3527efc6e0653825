"""An engine dies beside another one. How soon that shows is measured by `failover`, not here."""

from __future__ import annotations

import pytest

from tests.chaos.failover import health, two_engines


@pytest.mark.timeout(600)
def test_what_had_not_begun_succeeds_and_what_had_is_told():
    counts, _ = two_engines(repeats=2, seed=1)
    assert counts["of those failed"] == 0
    assert counts["streams that fell silent"] == 0
    assert counts["left in Redis"] == 0
    assert counts["streams ended by an error event"] > 0


@pytest.mark.timeout(600)
def test_health_tells_of_an_engine_that_was_stopped():
    assert health("SIGSTOP") > 0
