"""Prometheus scrapes for real; every query of the boards and every rule finds its figures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.deploy.docker_engine import said
from tests.deploy.installation import MODEL, Installation, wait_for

if TYPE_CHECKING:
    from tests.deploy.suite import Checks

BOARDS = Path("deploy/grafana/boards")
ALERTS = Path("tests/deploy/alerts.yml")
RULES = Path("deploy/prometheus/rules.yml")
ASK = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"


def check_all(site: Installation, check: Checks) -> None:
    verdict = said("promtool", "check", "rules", str(site.folder / RULES))
    check("promtool accepts the alert rules", "SUCCESS" in verdict)
    verdict = said("promtool", "test", "rules", str(site.folder / ALERTS))
    check("alerts fire when they should, and only then", "SUCCESS" in verdict)
    traffic(site)
    wait_for("a scrape", lambda: ask(site, 'up{job="pagoda"} == 1'), 60)
    for file in sorted((site.folder / BOARDS).glob("*.json")):
        board = json.loads(file.read_text(encoding="utf-8"))
        queries = [t["expr"] for panel in board["panels"] for t in panel["targets"]]
        for query in queries:
            traffic(site, 1)
            wait_for(f"data for {query}", lambda q=query: ask(site, q), 90)
        check(f"all {len(queries)} queries of {file.name} return data", queries)
    names = set(re.findall(r"(?:vllm:|pagoda_)\w+", (site.folder / RULES).read_text()))
    for name in sorted(names):
        wait_for(f"figures called {name}", lambda n=name: ask(site, n), 60)
    check(f"all {len(names)} figures of the alert rules exist", names)


def traffic(site: Installation, count: int = 5) -> None:
    """Answers of several kinds, one refusal among them: rates need more than one point."""
    for number in range(count):
        site.complete(f"Tell me of the number {number}, please", model=MODEL, max_tokens=8)


def ask(site: Installation, query: str) -> list[object]:
    """Result of an instant query, asked from inside the network: only the proxy is reachable."""
    from urllib.parse import quote

    url = f"http://prometheus:9090/api/v1/query?query={quote(query)}"
    reply = json.loads(site.inside("web", "python3", "-c", ASK, url))
    found: list[object] = reply["data"]["result"]
    return found
