"""The checks of `tests/deploy/run`, in the order of an installation's life."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.deploy import boards, faults, image_scan, tls
from tests.deploy.docker_engine import docker, health
from tests.deploy.installation import MODEL, SERVICES, Installation, wait_for

ROOT = Path(__file__).parents[2]
PROMPT = "Once upon a time there was a pagoda, and in it"
AS_DOWNLOADED = (
    "set -e; cd $HF_HOME && mkdir -p hub/models--acme--tale/refs hub/models--acme--tale/snapshots\n"
    "cd hub/models--acme--tale && printf 1 > refs/main\n"
    'cp -r "$(python3 -c "from inference_site.paths import DEMO_MODEL as m; print(m)")" snapshots/1'
)
READ_METRICS = (
    "import urllib.request as u; "
    "print(u.urlopen('http://127.0.0.1:8000/metrics', timeout=5).read().decode())"
)


class Checks:
    """Counts what was shown; a check that fails ends the run."""

    def __init__(self) -> None:
        self.passed = 0
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self.began

    def __call__(self, name: str, holds: object) -> None:
        if not holds:
            raise AssertionError(name)
        self.passed += 1
        sys.stdout.write(f"{self.seconds:5.0f} s  ok  {name}\n")
        sys.stdout.flush()


def run_all(site: Installation, check: Checks) -> None:
    wait_for("/health = 200", site.healthy, 180)
    site.make_key()
    first_answer(site, check)
    adapter(site, check)
    another_model(site, check)
    usage(site, check)
    boards.check_all(site, check)
    image_scan.check_all(site, check)
    scale(site, check)
    faults.rolling_restart(site, check)
    faults.upgrade(site, check)
    for service in faults.KILLED:
        faults.killed(site, check, service)
    backup(site, check)
    doctor(site, check)
    profiles(site, check)
    tls.check_all(site, check)


def local_answer() -> str:
    """The same greedy completion without Docker, from the library."""
    code = (
        "from engine import LLM, SamplingParams\n"
        f"llm = LLM('demo/{MODEL}')\n"
        "params = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)\n"
        f"out = llm.generate([{PROMPT!r}], params, use_tqdm=False)\n"
        "print('ANSWER', repr(out[0].outputs[0].text))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    line = next(text for text in done.stdout.splitlines() if text.startswith("ANSWER "))
    return line.removeprefix("ANSWER ")


def first_answer(site: Installation, check: Checks) -> None:
    text = site.complete(PROMPT, model=MODEL, max_tokens=24, ignore_eos=True)["choices"][0]["text"]
    check("the answer equals the one without Docker", repr(text) == local_answer())
    streamed, done = site.stream(PROMPT, model=MODEL, max_tokens=24, ignore_eos=True)
    check("the streamed answer is the same", streamed == text)
    check("the stream ends with [DONE]", done)
    outside = site.http.get(f"{site.url}/metrics")
    check("figures are not for everybody outside", outside.status_code == 401)


def adapter(site: Installation, check: Checks) -> None:
    browser = site.admin()
    source = ROOT / "demo" / "adapters" / "pirate"
    form = {"name": "uploaded", "base": MODEL, "load": "on"} | site.csrf(browser)
    opened = browser.post("/admin/lora/adapter/open/", data=form)
    check("the admin opens an upload", opened.status_code == 200)
    upload = opened.json()["upload"]
    for file, url in upload["files"].items():
        sent = browser.put(
            url, content=(source / file).read_bytes(), headers={upload["header"]: upload["ticket"]}
        )
        check(f"{file} is taken", sent.status_code == 200)
    answer = wait_for(
        "the uploaded adapter answers", lambda: site.complete(PROMPT, model="uploaded"), 60
    )
    base = site.complete(PROMPT, model=MODEL)
    check("the adapter answers in its own way", answer["choices"] != base["choices"])


def another_model(site: Installation, check: Checks) -> None:
    """A checkpoint as the hub's client leaves it, put there by the worker: every process that needs
    its files finds them."""
    site.inside("worker", "sh", "-c", AS_DOWNLOADED)
    site.inside("web", "pagoda", "models", "register", "acme/tale", "acme/tale")
    answer = wait_for("acme/tale answers", lambda: site.complete(PROMPT, model="acme/tale"), 120)
    same = site.complete(PROMPT, model=MODEL)
    check(
        "a downloaded model answers as its copy in the image",
        answer["choices"][0]["text"] == same["choices"][0]["text"],
    )
    site.inside("web", "pagoda", "models", "unload", "acme/tale")
    delete = ("pagoda", "models", "delete", "acme/tale")  # refused while its engine drains
    wait_for("its end", lambda: site.inside("web", *delete), 60)


def usage(site: Installation, check: Checks) -> None:
    reply = site.complete("A row for the books", model=MODEL, max_tokens=7)
    rid = reply["id"].removeprefix("cmpl-")
    query = f"SELECT completion_tokens FROM usage_usagerecord WHERE rid::text = '{rid}'"
    row = wait_for("a usage row in PostgreSQL", lambda: site.sql(query), 15)
    check(
        "the row counts what the client was told", row == str(reply["usage"]["completion_tokens"])
    )


def scale(site: Installation, check: Checks) -> None:
    site.compose("up", "-d", "--no-build", "--no-recreate", "--scale", "web=2", *SERVICES)
    wait_for("two healthy web containers", lambda: len(healthy(site, "web")) == 2, 60)

    def both_asked() -> bool:  # the proxy looks names up again every second
        site.complete("Hello", model=MODEL, max_tokens=1)
        answered = [completions(container) for container in site.compose("ps", "-q", "web").split()]
        return len(answered) == 2 and all(answered)

    check("the proxy sends requests to both web processes", wait_for("both", both_asked, 30))


def backup(site: Installation, check: Checks) -> None:
    """A new installation's empty database, filled again from the file."""
    tables = ("api_apikey", "catalog_servedmodel", "lora_adapter", "usage_usagerecord")
    counts = " UNION ALL ".join(f"SELECT count(*) FROM {table}" for table in tables)
    wait_for("all usage in the database", lambda: site.redis("XLEN", "pgd:usage") == "0", 30)
    before = site.sql(counts)
    site.inside("web", "sh", "-c", "cd && pagoda backup b.tar.gz")
    site.sql("TRUNCATE " + ", ".join(tables) + " CASCADE")
    site.inside("web", "sh", "-c", "cd && pagoda restore b.tar.gz --yes && rm b.tar.gz")
    check("restore brings every row back", site.sql(counts) == before)
    answer = wait_for("an answer", lambda: site.complete(PROMPT, model="uploaded"), 120)
    check("key and adapter work again", answer["choices"])


def doctor(site: Installation, check: Checks) -> None:
    """What operations.md says to type; it streams through the proxy and beside it."""
    site.inside("web", "pagoda", "migrate", "--check")  # what Kubernetes' pods wait for
    command = ("pagoda", "doctor", "--json", "--url", "http://proxy:8000", "--api-key", site.key)
    found = json.loads(site.inside("web", *command))
    mended = "version of Redis"  # by Debian under the old number, which doctor cannot know
    ill = [finding for finding in found if finding["level"] != "ok" and finding["what"] != mended]
    check(f"doctor finds nothing to mend {ill or ''}", not ill)
    looked_at = {finding["what"] for finding in found}
    check("doctor has looked at all", {"disk", "database", "redis", "model", "proxy"} <= looked_at)


def profiles(site: Installation, check: Checks) -> None:
    """docker-compose reads what it is asked to start on a GPU host."""
    read = site.compose("config", COMPOSE_PROFILES="gpu,observability")
    check("docker-compose reads the GPU profile", "driver: nvidia" in read)


def completions(container: str) -> int:
    """How many completions this web process has answered with 200, by its own count."""
    page = docker("exec", container, "python3", "-c", READ_METRICS)
    mark = 'pagoda_http_requests_total{route="/v1/completions",status="200"} '
    return sum(int(float(line.split()[-1])) for line in page.splitlines() if line.startswith(mark))


def healthy(site: Installation, service: str) -> list[str]:
    return [c for c in site.compose("ps", "-q", service).split() if health(c) == "healthy"]
