"""Adapters come, go, change and are pinned under traffic; every answer is its adapter's own."""

from __future__ import annotations

from tests.integration.parity.lora_traffic import Traffic


def test_random_operations_under_traffic_give_no_wrong_answer(tmp_path):
    traffic = Traffic(tmp_path, seed=1)
    answers = {tuple(answer[:8]) for answer in traffic.expected.values()}
    assert len(answers) == len(traffic.expected), "adapters cannot be told apart"
    traffic.run(operations=60)
    traffic.check()
    assert set(traffic.done) == {"load", "unload", "replace", "pin"}
