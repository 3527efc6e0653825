"""1,000 adapter operations under traffic: what tests/integration/parity does with 60."""

from __future__ import annotations

import pytest

from tests.integration.parity.lora_traffic import Traffic


@pytest.mark.timeout(1200)
def test_a_thousand_operations_under_traffic_give_no_wrong_answer(tmp_path):
    traffic = Traffic(tmp_path, seed=2)
    traffic.run(operations=1000)
    traffic.check()
