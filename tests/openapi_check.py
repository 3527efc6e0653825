"""Schemathesis over the published OpenAPI document, against a running server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx

# A schema cannot say how fields depend on each other ("give either prompt or messages"), so a
# request it allows may well be refused.
NOT_ASKED = "positive_data_acceptance"


def check_document(base: str, key: str, model: str, folder: Path, *flags: str) -> None:
    """Generate requests, right and wrong ones, and fail with the first answers that break the
    document or are a 5xx. `model` stands for every model name, so that requests get somewhere."""
    document = httpx.get(f"{base}/openapi.json", trust_env=False, timeout=60).json()
    for schema in document["components"]["schemas"].values():
        if (given := schema.get("properties", {}).get("model")) is not None:
            absent = [None] if {"type": "null"} in given.get("anyOf", []) else []
            schema["properties"]["model"] = {"enum": [model, *absent]}
    file = folder / "openapi.json"
    file.write_text(json.dumps(document))
    command = [
        str(Path(sys.executable).with_name("st")),
        "run",
        str(file),
        f"--url={base}",
        f"--header=Authorization: Bearer {key}",
        "--mode=all",
        f"--exclude-checks={NOT_ASKED}",
        "--request-timeout=60",
        "--suppress-health-check=all",
        "--no-shrink",
        *flags,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-20000:]
