"""Every route of the OpenAPI document, with right, wrong and boundary requests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.openapi_check import check_document
from tests.served import ROOT, serving

DEMO = ROOT / "demo" / "pagoda-demo"
SCOPES = ("inference", "management", "admin", "adapters", "metrics")
ENVIRONMENT = {
    "PAGODA_ENGINE_COMMAND": "engine.testing",  # as fast as the rest of the service
    "PAGODA_ADAPTER_WAIT_S": "1",
    "PAGODA_BAN_AFTER": "0",  # it leaves keys out on purpose, all the time
    "PAGODA_LOG_LEVEL": "WARNING",
}


@pytest.mark.timeout(3600)
def test_every_route_answers_as_its_document_says(tmp_path: Path) -> None:
    flags = (str(DEMO), "--max-model-len", "256")
    with serving(tmp_path / "home", *flags, within_s=120, env=ENVIRONMENT) as served:
        command = [sys.executable, str(ROOT / "manage.py"), "keys", "create", "all"]
        env = os.environ | {"PAGODA_HOME": str(served.home), "PAGODA_PORT": str(served.port)}
        words = [f"--scope={scope}" for scope in SCOPES]
        key = subprocess.run(
            [*command, *words], env=env, capture_output=True, text=True, check=True
        ).stdout.split()[-1]
        check = ["--phases=coverage,fuzzing", "--max-examples=50", "--continue-on-failure"]
        check_document(served.url, key, "pagoda-demo", tmp_path, *check)
        assert served.status("/health") == 200
        assert "Traceback" not in served.log.read_text()
