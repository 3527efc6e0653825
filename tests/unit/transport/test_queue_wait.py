"""What a request that no engine took is told."""

from __future__ import annotations

import pytest

from engine.errors import Overloaded
from engine.messages import Bill, QueueBody
from engine.request_stream import RequestStream
from engine.sampling_params import SamplingParams


@pytest.mark.parametrize(("load_s", "retry_s"), [(0.0, 5.0), (12.0, 5.0), (100.0, 70.0)])
def test_retry_after_is_what_is_left_of_the_models_load(load_s: float, retry_s: float) -> None:
    body = QueueBody(
        rid="r", attempt=1, web="w", model="m", prompts=[[1]], params=SamplingParams(),
        deadline_ms=0,
    )  # fmt: skip
    stream = RequestStream(
        body, Bill(key_id="k"), post=lambda *call, **rest: None, wait_until=30.0, wait_s=30.0,
        dead_at=600.0, patience_s=1, load_s=load_s,
    )  # fmt: skip
    stream.admitted = True
    assert stream.overdue(29.0) is None
    error = stream.overdue(31.0)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == retry_s
