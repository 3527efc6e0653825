"""Presets of the playground: each person's own, opened by address, refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from apps.api import presets
from apps.api.models import ApiKey, Owner, PlaygroundPreset
from apps.api.presets import of_request
from apps.api.roles import Role
from apps.api.services import key_create
from apps.usage.bodies import Body, bodies_add

pytestmark = pytest.mark.django_db
PAGE, STORE = "/admin/playground/", "/admin/playground/presets/"
CONTENT = {
    "system": "Be brief.",
    "turns": [{"role": "user", "text": "</script><script>alert(1)</script>"}],
    "parameters": {"temperature": "0.5"},
    "logprobs": True,
    "tools": "[1",
    "schema_text": "",
    "columns": ["a", "b"],
}


def person(name: str, role: Role = Role.OPERATOR) -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    client = Client()
    client.force_login(user)
    return client


def save(client: Client, name: str = "mine", content: Any = CONTENT) -> Any:
    data = {"name": name, "content": content}
    return client.post(STORE, json.dumps(data), content_type="application/json")


def shown(client: Client, query: str) -> dict[str, Any]:
    page = client.get(f"{PAGE}?{query}")
    assert page.status_code == 200
    return dict(page.context["data"])


def test_preset_is_saved_replaced_by_name_and_opened_by_its_address() -> None:
    anna, ben = person("anna"), person("ben")
    slug = save(anna).json()["slug"]
    assert save(anna, " mine ", CONTENT | {"system": "Again."}).json()["slug"] == slug
    mine = shown(anna, f"preset={slug}")
    assert mine["content"] == CONTENT | {"system": "Again."}
    assert (mine["preset"]["mine"], mine["notice"]) == (True, "")
    theirs = shown(ben, f"preset={slug}")
    assert theirs["content"] == mine["content"]
    assert (theirs["preset"]["mine"], theirs["notice"]) == (False, "“mine”, a preset of anna.")
    assert "<script>alert" not in ben.get(f"{PAGE}?preset={slug}").content.decode()


def test_list_and_delete_are_of_ones_own() -> None:
    anna, ben = person("anna"), person("ben")
    slug = save(anna).json()["slug"]
    assert [preset.name for preset in anna.get(PAGE).context["presets"]] == ["mine"]
    assert not ben.get(PAGE).context["presets"]
    gone = reverse("console:preset-remove", args=[slug])
    assert ben.post(gone).status_code == 404
    assert anna.post(gone).status_code == 200
    assert anna.get(f"{PAGE}?preset={slug}").status_code == 404


def test_viewer_has_no_playground_and_no_presets() -> None:
    eve = person("eve", Role.VIEWER)
    assert save(eve).status_code == eve.get(PAGE).status_code == 403


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("", CONTENT, "1 to 80"),
        ("x" * 81, CONTENT, "1 to 80"),
        ("a\nb", CONTENT, "1 to 80"),
        ("n", "text", "cannot be read"),
        ("n", CONTENT | {"turns": [{"role": "system", "text": ""}]}, "turns.0.role"),
        ("n", CONTENT | {"columns": ["m"] * 5}, "columns"),
        ("n", CONTENT | {"system": "x" * 64_000}, "at most 64,000"),
        ("n", CONTENT | {"system": "\0"}, "NUL"),
    ],
)
def test_bad_preset_is_refused_in_words(name: str, content: Any, words: str) -> None:
    reply = save(person("anna"), name, content)
    assert reply.status_code == 400
    assert words in reply.json()["message"]
    assert not PlaygroundPreset.objects.exists()


@pytest.mark.parametrize("body", ["", "[]", "{}", "{", '{"name": "x"}', "null"])
def test_what_is_no_preset_is_refused(body: str) -> None:
    assert person("anna").post(STORE, body, content_type="application/json").status_code == 400


def test_presets_of_a_person_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "MOST_PRESETS", 2)
    anna = person("anna")
    assert [save(anna, name).status_code for name in "aaba"] == [200] * 4
    assert "You have 2 presets" in save(anna, "c").json()["message"]


REQUEST = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": t} for t in ("Hi", "!")]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "42", "tool_call_id": "1"},
    ],
    "max_tokens": 9,
    "stop": ["x"],
    "top_p": 0.5,
    "tools": [{"type": "function"}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"a": "é"}}},
    "best_of": 3,
}  # fmt: skip


def test_request_becomes_a_preset_that_names_what_it_leaves_out() -> None:
    content, left_out = of_request(REQUEST)
    assert content.system == "Be brief."
    assert [(turn.role, turn.text) for turn in content.turns] == [
        ("user", "Hi\n!"),
        ("assistant", ""),
    ]
    assert content.parameters == {"max_tokens": "9", "stop": "x", "top_p": "0.5"}
    assert json.loads(content.tools) == REQUEST["tools"]
    assert json.loads(content.schema_text) == {"a": "é"}
    assert content.columns == ["m"]
    assert left_out == ["best_of", "tool messages", "tool_call_id of a message",
                        "tool_calls of a message"]  # fmt: skip


def test_stored_request_opens_in_the_playground() -> None:
    anna = person("anna")
    key: ApiKey = key_create(
        owner=Owner.objects.create(name="o"), name="k", keep_bodies_days=1
    )[0]  # fmt: skip
    data = json.dumps(REQUEST).encode()
    bodies_add([Body("r", key.public_id, data, len(data), b"{}", 2)])
    found = shown(anna, "request=r")
    assert found["content"]["system"] == "Be brief."
    assert found["notice"].startswith("The request r. Not shown here: best_of,")
    assert anna.get(f"{PAGE}?request=other").status_code == 404
