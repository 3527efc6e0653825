"""Adapters through HTTP on a real `serve` with two web processes: REST, vLLM's routes, uploads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from itertools import count
from typing import Any

import httpx
import pytest

from apps.lora.config import CONFIG_FILE, FILES, WEIGHTS_FILE
from apps.lora.uploads import UPLOADS
from inference_site.paths import DEMO_ADAPTERS
from tests.integration.lora import files
from tests.served import Served, wait_for

DEMO = {"json-only", "pirate", "terse"}
_numbers = count()


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {served.boot['api_key']}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=60, trust_env=False) as made:
        yield made


@pytest.fixture
def folder(served: Served) -> Callable[..., str]:
    """Makes an adapter below the default root; its name there."""

    def make(**config: Any) -> str:
        name = f"made-{next(_numbers)}"
        config.setdefault("lora_alpha", 8 + next(_numbers))
        (served.home / "adapters").mkdir(exist_ok=True)
        files.adapter(served.home / "adapters" / name, **config)
        return name

    return make


def names(client: httpx.Client) -> set[str]:
    return {card["id"] for card in client.get("/v1/models").json()["data"]}


def text(client: httpx.Client, model: str, **fields: Any) -> str:
    body = {"model": model, "prompt": "Once", "max_tokens": 8, "temperature": 0} | fields
    reply = client.post("/v1/completions", json=body)
    assert reply.status_code == 200, reply.text
    found: str = reply.json()["choices"][0]["text"]
    return found


def load(client: httpx.Client, name: str, path: str, **more: Any) -> httpx.Response:
    return client.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path, **more})


def unload(client: httpx.Client, name: str) -> httpx.Response:
    return client.post("/v1/unload_lora_adapter", json={"lora_name": name})


def on_every_web_process(served: Served, model: str) -> set[int]:
    """Statuses of 16 new connections, which the kernel spreads over the processes."""
    headers = {"Authorization": f"Bearer {served.boot['api_key']}"}
    body = {"model": model, "prompt": "a", "max_tokens": 1}
    found = set()
    for _ in range(16):
        with httpx.Client(
            base_url=served.url, headers=headers, timeout=60, trust_env=False
        ) as made:
            found.add(made.post("/v1/completions", json=body).status_code)
    return found


def test_bundled_adapters_can_be_asked_for_after_the_first_start(client: httpx.Client) -> None:
    wait_for(lambda: names(client) >= DEMO, what="the bundled adapters")
    cards = {card["id"]: card for card in client.get("/v1/models").json()["data"]}
    assert cards["pirate"]["parent"] == "pagoda-demo"
    assert cards["pirate"]["root"].startswith("sha256:")
    assert next(iter(cards)) == "pagoda-demo"
    assert len({text(client, name) for name in cards}) == len(cards)


def test_vllm_routes_answer_as_vllm_does(
    client: httpx.Client, served: Served, folder: Callable[..., str]
) -> None:
    made, again = folder(), folder()
    reply = load(client, "v", made)
    assert (reply.status_code, reply.text) == (200, "Success: LoRA adapter 'v' added successfully.")
    assert reply.headers["content-type"].startswith("text/plain")
    before = text(client, "v")
    assert on_every_web_process(served, "v") == {200}
    twice = load(client, "v", made)
    assert twice.status_code == 400
    assert "has already been loaded" in twice.json()["error"]["message"]
    assert load(client, "v", again, load_inplace=True).status_code == 200
    assert text(client, "v") != before
    gone = unload(client, "v")
    assert (gone.status_code, gone.text) == (
        200, "Success: LoRA adapter 'v' removed successfully."
    )  # fmt: skip
    assert on_every_web_process(served, "v") == {404}
    assert "v" not in names(client)
    assert unload(client, "v").status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"lora_path": "terse"}, "lora_name"),
        ({"lora_name": "x"}, "lora_path"),
        ({"lora_name": "x", "lora_path": "/etc"}, "lora_path"),
        ({"lora_name": "x", "lora_path": "../../.."}, "lora_path"),
        ({"lora_name": "x y", "lora_path": "terse"}, "lora_name"),
        ({"lora_name": "pagoda-demo", "lora_path": "terse"}, "lora_name"),
        ({"lora_name": "x", "lora_path": "terse", "base_model_name": "nope"}, "base_model_name"),
        ({"lora_name": 7, "lora_path": "terse"}, "lora_name"),
    ],
)
def test_bad_load_names_its_field(client: httpx.Client, body: dict[str, Any], param: str) -> None:
    reply = client.post("/v1/load_lora_adapter", json=body)
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]["param"] == param


def test_bad_adapter_is_refused_with_every_problem_and_the_engine_goes_on(
    client: httpx.Client, folder: Callable[..., str]
) -> None:
    reply = load(client, "bad", folder(r=0, bias="all"))
    assert reply.status_code == 400
    message = reply.json()["error"]["message"]
    assert "2 problems" in message
    assert "r is 0" in message
    assert "bias" in message
    assert "bad" not in names(client)
    shown = client.get("/api/adapters/bad").json()
    assert (shown["state"], len(shown["versions"][0]["problems"])) == ("failed", 2)
    assert text(client, "pagoda-demo")


def send(client: httpx.Client, upload: dict[str, Any], file: str, data: bytes) -> httpx.Response:
    headers = {upload["header"]: upload["ticket"], "Authorization": ""}
    return client.put(upload["files"][file], content=data, headers=headers)


def test_upload_of_two_files_is_checked_loaded_and_answers(client: httpx.Client) -> None:
    opened = client.post("/api/adapters", json={"name": "up"})
    assert opened.status_code == 201
    upload = opened.json()["upload"]
    for file in FILES:
        data = (DEMO_ADAPTERS / "terse" / file).read_bytes()
        if file == CONFIG_FILE:
            data = data.replace(b'"lora_alpha": 8', b'"lora_alpha": 7')
        reply = send(client, upload, file, data)
        assert reply.status_code == 200, reply.text
        assert reply.json()["sha256"] == hashlib.sha256(data).hexdigest()
    assert reply.json()["complete"]
    wait_for(lambda: "up" in names(client), what="the uploaded adapter")
    assert text(client, "up") != text(client, "pagoda-demo")
    version = client.get("/api/adapters/up").json()["versions"][0]
    assert (version["state"], version["alpha"], version["source"]) == ("ready", 7.0, "upload")
    assert version["engines"][0]["residency"] in ("slot", "host", "disk")
    # The ticket is spent.
    assert send(client, upload, CONFIG_FILE, b"{}").status_code == 401


@pytest.mark.parametrize(
    "file",
    ["adapter.zip", "adapter_model.bin", "..%2f..%2fx", "adapter_config.json%00", "", "a/b", "%2e"],
)
def test_upload_takes_two_names_and_no_other(client: httpx.Client, file: str) -> None:
    upload = client.post("/api/adapters", json={"name": "names"}).json()["upload"]
    path = upload["files"][CONFIG_FILE].removesuffix(CONFIG_FILE) + file
    reply = client.put(path, content=b"PK", headers={"X-Upload-Ticket": upload["ticket"]})
    assert reply.status_code == 400, reply.text
    assert "Archives" in reply.json()["error"]["message"]


def test_upload_over_its_cap_is_cut_and_leaves_nothing(
    client: httpx.Client, served: Served
) -> None:
    upload = client.post("/api/adapters", json={"name": "huge"}).json()["upload"]
    path, ticket = upload["files"][CONFIG_FILE], {"X-Upload-Ticket": upload["ticket"]}
    told = client.put(path, content=b" " * 70_000, headers=ticket)
    untold = client.put(path, content=(b" " * 1000 for _ in range(70)), headers=ticket)
    for reply in (told, untold):
        assert reply.status_code == 413
        assert reply.headers["x-request-id"]
    promised = HTTPConnection("127.0.0.1", served.port, timeout=30)
    promised.putrequest("PUT", upload["files"][WEIGHTS_FILE])
    for name, value in (ticket | {"Content-Length": str(2**40)}).items():
        promised.putheader(name, value)
    promised.endheaders()
    assert promised.getresponse().status == 413
    promised.close()
    number = path.split("/")[-2]
    incoming = served.home / "lora" / "incoming"
    assert not any((incoming / number).iterdir())
    assert not list(incoming.glob(".*"))


@pytest.mark.parametrize("ticket", ["", "x", "x" * 5000])
def test_upload_without_its_ticket_is_401_whatever_it_names(
    client: httpx.Client, ticket: str
) -> None:
    upload = client.post("/api/adapters", json={"name": "locked"}).json()["upload"]
    for path in (upload["files"][CONFIG_FILE], f"{UPLOADS}999999/x", f"{UPLOADS}x", UPLOADS):
        reply = client.put(path, content=b"{}", headers={"X-Upload-Ticket": ticket})
        assert reply.status_code == 401, reply.text
    wrong = client.get(upload["files"][CONFIG_FILE], headers={"X-Upload-Ticket": upload["ticket"]})
    assert wrong.status_code == 405


def test_pin_roll_back_and_delete(client: httpx.Client, folder: Callable[..., str]) -> None:
    first = client.post("/api/adapters", json={"name": "life", "source": folder()})
    assert (first.status_code, first.json()["version"]) == (201, 1)
    one = text(client, "life")
    second = client.post("/api/adapters", json={"name": "life", "source": folder()})
    assert (second.status_code, second.json()["version"]) == (201, 2)
    assert text(client, "life") != one
    back = client.post("/api/adapters/life/roll_back", json={"version": 1})
    assert (back.status_code, back.json()["version"]) == (200, 1)
    assert text(client, "life") == one
    assert client.post("/api/adapters/life/pin").json()["pinned"]
    wait_for(
        lambda: any(
            engine["pinned"]
            for version in client.get("/api/adapters/life").json()["versions"]
            for engine in version["engines"]
        ),
        what="a pinned adapter in the engine",
    )
    assert client.delete("/api/adapters/life").status_code == 400
    assert client.post("/api/adapters/life/unload").json()["desired"] == "unloaded"
    wait_for(
        lambda: client.delete("/api/adapters/life").status_code == 200,
        what="the end of the drain",
    )
    assert client.get("/api/adapters/life").status_code == 404


def test_key_uses_and_manages_only_the_adapters_it_was_given(
    client: httpx.Client, served: Served
) -> None:
    wait_for(lambda: names(client) >= DEMO, what="the bundled adapters")
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False) as limited:
        limited.headers["Authorization"] = f"Bearer {key_for(served, ['pirate'])}"
        assert names(limited) == {"pirate"}
        assert text(limited, "pirate")
        body = {"model": "terse", "prompt": "a", "max_tokens": 1}
        assert limited.post("/v1/completions", json=body).status_code == 404
        assert [a["id"] for a in limited.get("/api/adapters").json()["data"]] == ["pirate"]
        for path in ("/api/adapters/terse", "/api/adapters/nobody"):
            assert limited.get(path).status_code == 404
        assert unload(limited, "terse").status_code == 404
        assert load(limited, "third", "terse").status_code == 403
        limited.headers["Authorization"] = f"Bearer {key_for(served, ['third'])}"
        refused = load(limited, "third", "terse")  # would let it use the base model
        assert (refused.status_code, "only to models" in refused.text) == (403, True)
        limited.headers["Authorization"] = f"Bearer {key_for(served, ['pirate'])}"
        assert limited.post("/api/adapters/pirate/unpin").status_code == 200
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False) as plain:
        plain.headers["Authorization"] = f"Bearer {key_for(served, [], scopes=['inference'])}"
        assert load(plain, "x", "terse").status_code == 403
        assert plain.get("/api/adapters").status_code == 403


def key_for(served: Served, models: list[str], scopes: list[str] | None = None) -> str:
    from tests.browser.conftest import manage

    rights = f"allowed_models={models!r}, scopes={scopes or ['inference', 'adapters']!r}"
    return manage(
        served,
        "from apps.api.services import key_create, owner_get_or_create\n"
        f"print(key_create(owner=owner_get_or_create(name='k'), name='k', {rights})[1])",
    )
