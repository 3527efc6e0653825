"""One `docker-compose up` of the repository, and what a person would do with it."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.deploy.docker_engine import docker, said

PROJECT = "pagodatest"
MODEL = "pagoda-demo"
PORT = 18080
SERVICES = (
    "postgres", "redis", "migrate", "web", "settler", "worker", "engine-cpu", "proxy", "prometheus",
)  # fmt: skip
PASSWORD = "a-password-for-this-test-only"


def wait_for(what: str, ready: Callable[[], Any], within_s: float) -> Any:
    """Poll until it gives something true. Raises by name, with what went wrong last."""
    deadline, problem = time.monotonic() + within_s, ""
    while time.monotonic() < deadline:
        try:
            if found := ready():
                return found
        except (httpx.HTTPError, RuntimeError, KeyError, IndexError) as error:
            problem = f" ({type(error).__name__}: {error})"
        time.sleep(0.3)
    raise AssertionError(f"{what} did not happen within {within_s:.0f} s{problem}")


class Installation:
    """Containers of one project; `url` is the proxy's."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{PORT}"
        self.variables = variables | {
            "COMPOSE_PROFILES": "cpu-demo,observability",
            "PAGODA_PUBLIC_URL": self.url,
            "PAGODA_PUBLISH": f"127.0.0.1:{PORT}",
            "PAGODA_FIRST_MODEL": "bundled",
        }
        self.key = ""
        # One for all threads: to make a client costs more than the request.
        self.http = httpx.Client(timeout=300, limits=httpx.Limits(max_connections=None))

    def compose(self, *arguments: str, check: bool = True, **more: str) -> str:
        files = ("-p", PROJECT, "--project-directory", str(self.folder))
        file = str(self.folder / "docker-compose.yml")
        return said(
            "docker-compose", *files, "-f", file, *arguments, check=check, **self.variables | more
        )

    @contextmanager
    def up(self) -> Iterator[None]:
        """Everything but Grafana, which Debian does not have. Gone with its volumes afterwards."""
        said(str(self.folder / "deploy" / "secrets" / "make"))
        self.compose("down", "--volumes", "--remove-orphans", check=False)
        docker("volume", "prune", "--force")  # of a run that was killed
        try:
            self.compose("up", "-d", "--no-build", *SERVICES)
            yield
        except BaseException:
            sys.stderr.write(self.compose("logs", "--no-color", "--tail", "400", check=False))
            raise
        finally:
            self.compose("down", "--volumes", "--remove-orphans", "--timeout", "20", check=False)

    @staticmethod
    def left_over() -> str:
        """What bears the project's label; volumes that images ask for have none: see `tidy`."""
        mark = ("-q", "--filter", f"label=com.docker.compose.project={PROJECT}")
        kinds = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
        return "".join(docker(*kind, *mark) for kind in kinds)

    def container(self, service: str, number: int = 0) -> str:
        return self.compose("ps", "-q", service).split()[number]

    def inside(self, service: str, *command: str, **environ: str) -> str:
        given = [word for name, text in environ.items() for word in ("-e", f"{name}={text}")]
        return docker("exec", *given, self.container(service), *command)

    def healthy(self) -> bool:
        return self.http.get(f"{self.url}/health", timeout=5).status_code == 200

    def sql(self, query: str) -> str:
        return self.inside("postgres", "psql", "-U", "pagoda", "-Atc", query, "pagoda")

    def redis(self, *command: str) -> str:
        return self.inside("redis", "redis-cli", *command)

    def make_key(self) -> None:
        said_words = self.inside(
            "web",
            "pagoda",
            "keys",
            "create",
            "deploy",
            "--scope",
            "inference",
            "--scope",
            "adapters",
        )
        self.key = re.findall(r"pgd_\w+", said_words)[0]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def complete(
        self, prompt: str, *, model: str, max_tokens: int = 16, ignore_eos: bool = False
    ) -> dict[str, Any]:
        body = {"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
        reply = self.http.post(
            f"{self.url}/v1/completions", headers=self.headers, timeout=60,
            json=body | {"ignore_eos": ignore_eos},
        )  # fmt: skip
        reply.raise_for_status()
        found: dict[str, Any] = reply.json()
        return found

    def stream(
        self, prompt: str, *, model: str, max_tokens: int, ignore_eos: bool = False
    ) -> tuple[str, bool]:
        """Text of a streamed completion, and whether it ended with [DONE]."""
        body = {"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
        body |= {"stream": True, "ignore_eos": ignore_eos}
        text, done = "", False
        with self.http.stream(
            "POST", f"{self.url}/v1/completions", headers=self.headers, json=body, timeout=120
        ) as reply:
            for line in reply.iter_lines():
                if line == "data: [DONE]":
                    done = True
                elif line.startswith("data: ") and "choices" in (chunk := json.loads(line[6:])):
                    text += "".join(choice["text"] for choice in chunk["choices"])
        return text, done

    def admin(self) -> httpx.Client:
        """A logged-in browser of the superuser made by createsuperuser."""
        self.inside(
            "web", "pagoda", "createsuperuser", "--noinput", "--username", "root",
            "--email", "root@example.com", DJANGO_SUPERUSER_PASSWORD=PASSWORD,
        )  # fmt: skip
        browser = httpx.Client(base_url=self.url, follow_redirects=True, timeout=30)
        browser.headers["Referer"] = self.url
        browser.get("/admin/login/")
        form = {"username": "root", "password": PASSWORD, "next": "/admin/"}
        page = browser.post("/admin/login/", data=form | self.csrf(browser))
        assert "Log out" in page.text or "logout" in page.text, page.text[:2000]
        return browser

    @staticmethod
    def csrf(browser: httpx.Client) -> dict[str, str]:
        return {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
