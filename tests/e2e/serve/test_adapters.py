"""The bundled adapters on the real engine: asked for by name, billed by name, 404 when unloaded."""

from __future__ import annotations

import urllib.error

import openai
import pytest

from tests.served import Served, wait_for

TALK = [{"role": "user", "content": "Hello, who are you?"}]


def said(client: openai.OpenAI, model: str) -> str:
    reply = client.chat.completions.create(model=model, messages=TALK, max_tokens=32, temperature=0)
    return reply.choices[0].message.content or ""


def test_adapters_answer_in_their_own_way_and_their_rows_name_them(
    served: Served, client: openai.OpenAI
) -> None:
    wait_for(
        lambda: {"pirate", "terse", "json-only"} <= {m.id for m in client.models.list()},
        what="the bundled adapters",
    )
    base, pirate = said(client, "pagoda-demo"), said(client, "pirate")
    assert "arr" in pirate.lower()
    assert "arr" not in base.lower()
    assert said(client, "json-only").startswith("{")
    assert said(client, "pagoda-demo") == base
    digest = served.get("/api/adapters/pirate")["versions"][0]["digest"]
    rows = wait_for(lambda: [r for r in rows_of(served) if r[0] == "pirate"], what="its usage row")
    assert rows[0] == ("pirate", digest, "pagoda-demo")


def test_unloaded_adapter_is_404_until_it_is_loaded_again(
    served: Served, client: openai.OpenAI
) -> None:
    wait_for(lambda: "terse" in {m.id for m in client.models.list()}, what="the adapter")
    before = said(client, "terse")
    served.post("/api/adapters/terse/unload", {})
    with pytest.raises(openai.NotFoundError):
        said(client, "terse")
    with pytest.raises(urllib.error.HTTPError) as again:
        served.post("/api/adapters/terse/unload", {})
    assert again.value.code == 400
    served.post("/api/adapters/terse/load", {})
    assert said(client, "terse") == before


def rows_of(served: Served) -> list[tuple[str, str, str]]:
    """Adapter, digest and model of the usage rows there are."""
    import sqlite3

    with sqlite3.connect(f"file:{served.home}/pagoda.sqlite3?mode=ro", uri=True) as database:
        return list(
            database.execute("select adapter, adapter_digest, model from usage_usagerecord")
        )
