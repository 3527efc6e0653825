"""The proxy with PAGODA_PROXY=tls: a certificate of our own, and its renewal."""

from __future__ import annotations

import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.deploy.boards import ask
from tests.deploy.docker_engine import said
from tests.deploy.installation import MODEL, PORT, SERVICES, Installation, wait_for

if TYPE_CHECKING:
    from tests.deploy.suite import Checks

CERTIFICATE = "fullchain.pem"


def check_all(site: Installation, check: Checks) -> None:
    with certificate() as folder:
        site.variables |= {
            "PAGODA_PROXY": "tls",
            "PAGODA_TLS_FOLDER": str(folder),
            "PAGODA_PUBLIC_URL": f"https://127.0.0.1:{PORT}",
        }
        site.compose("up", "-d", "--no-build", *SERVICES)
        plain, site.url = site.url, f"https://127.0.0.1:{PORT}"
        trusted = ssl.create_default_context(cafile=folder / CERTIFICATE)
        site.http = httpx.Client(timeout=60, verify=trusted)
        wait_for("/health = 200 over TLS", site.healthy, 180)
        text, done = site.stream("Once upon a time", model=MODEL, max_tokens=8)
        check("a stream over TLS, its certificate verified, ends with [DONE]", text and done)
        check("plain HTTP gets no answer there", httpx.get(f"{plain}/health").status_code == 400)
        page = site.http.get(f"{site.url}/admin/login/")
        check("browsers are told to stay with https", "strict-transport-security" in page.headers)
        check("cookies are for https alone", "; Secure" in page.headers["set-cookie"])
        newer = f"timestamp(pagoda_build_info) > {time.time():.0f}"
        scraped = wait_for("a scrape", lambda: ask(site, newer), 60)
        check("Prometheus still reads the web tier, without TLS", scraped)
        before = shown()
        make_certificate(folder)
        site.compose("kill", "-s", "HUP", "proxy")
        check(
            "a renewed certificate is shown after HUP",
            wait_for("it", lambda: shown() != before, 20),
        )


def shown() -> str:
    return ssl.get_server_certificate(("127.0.0.1", PORT))


@contextmanager
def certificate() -> Iterator[Path]:
    """A folder that user 10001, and everybody else, can read."""
    with tempfile.TemporaryDirectory(prefix="pagoda-tls-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        make_certificate(folder)
        yield folder


def make_certificate(folder: Path) -> None:
    key = folder / "privkey.pem"
    said(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", str(key), "-out", str(folder / CERTIFICATE),
    )  # fmt: skip
    key.chmod(0o644)
