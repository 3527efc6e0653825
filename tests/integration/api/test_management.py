"""The management API and the OpenAPI document."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from apps.api.routing import CONSUMERS
from tests.served import wait_for
from tests.stack import Stack

BODY = {"model": "tiny", "prompt": "a", "max_tokens": 1}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_revoked_key_is_refused_at_once(client: httpx.Client) -> None:
    made = client.post("/api/keys", json={"name": "short"}).json()
    headers = bearer(made["key"])
    assert client.post("/v1/completions", json=BODY, headers=headers).status_code == 200
    assert client.delete(f"/api/keys/{made['id']}").json()["revoked_at"]
    assert client.post("/v1/completions", json=BODY, headers=headers).status_code == 401


def test_ended_keys_are_refused_by_every_process(stack: Stack, client: httpx.Client) -> None:
    def statuses(base: str, key: str) -> set[int]:
        """What a route with admission and one without it say."""
        with stack.http(base_url=base, headers=bearer(key)) as there:
            posted = there.post("/v1/completions", json=BODY).status_code
            return {posted, there.get("/v1/models").status_code}

    with stack.second_web() as second:
        made = [client.post("/api/keys", json={"name": str(n)}).json() for n in range(3)]
        bases = (str(client.base_url), second)

        def all_say(key: dict[str, Any], status: int) -> bool:
            return all(statuses(base, key["key"]) == {status} for base in bases)

        for key in made:
            assert all_say(key, 200)
        for life_s in (2, 10, 50):  # until one lives long enough to be used on this machine
            soon = (datetime.now(UTC) + timedelta(seconds=life_s)).isoformat()
            expiring = client.post("/api/keys", json={"name": "soon", "expires_at": soon}).json()
            if all_say(expiring, 200):
                break
        else:
            pytest.fail("no key lived long enough to be used")
        client.delete(f"/api/keys/{made[0]['id']}")
        client.patch(f"/api/keys/{made[1]['id']}", json={"expires_at": "2020-01-01T00:00:00Z"})
        client.post(f"/api/keys/{made[2]['id']}/rotate", json={"grace_hours": 0})
        for key in made:  # admission knows at once
            with stack.http(base_url=second, headers=bearer(key["key"])) as there:
                assert there.post("/v1/completions", json=BODY).status_code == 401
        for key in made:
            wait_for(partial(all_say, key, 401), what="a refusal everywhere")
        time.sleep(max(0.0, datetime.fromisoformat(soon).timestamp() - time.time()))
        assert all_say(expiring, 401)


def test_a_running_stream_of_a_revoked_key_is_cut(client: httpx.Client) -> None:
    made = client.post("/api/keys", json={"name": "running"}).json()
    long = BODY | {"max_tokens": 2000, "stream": True, "n": 8}
    text = ""
    with client.stream("POST", "/v1/completions", json=long, headers=bearer(made["key"])) as reply:
        for piece in reply.iter_text():
            if not text:
                client.post(f"/api/keys/{made['id']}/revoke")
            text += piece
    assert '"code":"invalid_api_key"' in text
    assert "[DONE]" not in text


def test_an_edited_limit_holds_for_the_next_request(client: httpx.Client) -> None:
    made = client.post("/api/keys", json={"name": "edit"}).json()
    headers = bearer(made["key"])
    client.post("/v1/completions", json=BODY, headers=headers)
    assert client.patch(f"/api/keys/{made['id']}", json={"rpm": 1}).json()["rpm"] == 1
    found = [client.post("/v1/completions", json=BODY, headers=headers) for _ in range(2)]
    assert [reply.status_code for reply in found] == [200, 429]
    assert client.patch(f"/api/keys/{made['id']}", json={"rpm": None}).json()["rpm"] is None
    assert client.post("/v1/completions", json=BODY, headers=headers).status_code == 200


OWNER_LIMITS = """
from apps.api.models import Owner
from apps.api.services import KeyLimits, owner_limits_set
owner_limits_set(owner=Owner.objects.get(name="family"), limits=KeyLimits(rpm=2))
"""


def test_keys_of_one_owner_share_its_limits(stack: Stack, client: httpx.Client) -> None:
    wish = {"owner": "family", "rpm": 100, "tokens_per_day": 10**6}
    keys = [client.post("/api/keys", json=wish | {"name": name}).json() for name in "ab"]
    assert keys[0]["tokens_per_day"] == 10**6
    stack.manage(OWNER_LIMITS)
    first, second, third = (
        client.post("/v1/completions", json=BODY, headers=bearer(keys[n % 2]["key"]))
        for n in range(3)
    )
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert first.headers.get_list("x-ratelimit-limit-requests") == ["2"]
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    assert "The owner of this key may use 2 requests per minute" in third.json()["error"]["message"]
    assert float(third.headers["retry-after"]) > 0


MODEL_LIMITS = """
from apps.models.services import model_limits_set
model_limits_set(name="tiny", rpm=json.loads(sys.argv[1]))
"""


def test_a_model_has_limits_for_all_keys_together(stack: Stack, client: httpx.Client) -> None:
    stack.manage(MODEL_LIMITS, "1")
    try:
        found = [
            client.post("/v1/completions", json=BODY, headers=bearer(stack.keys[name]))
            for name in ("full", "plain")
        ]
    finally:
        stack.manage(MODEL_LIMITS, "null")
    assert [reply.status_code for reply in found] == [200, 429]
    assert "The users of this model may use 1 requests" in found[1].json()["error"]["message"]
    assert client.post("/v1/completions", json=BODY).status_code == 200


def test_a_rotated_key_lives_on_during_its_grace(client: httpx.Client) -> None:
    made = client.post("/api/keys", json={"name": "old"}).json()
    successor = client.post(f"/api/keys/{made['id']}/rotate", json={"grace_hours": 1}).json()
    for key in (made["key"], successor["key"]):
        assert client.post("/v1/completions", json=BODY, headers=bearer(key)).status_code == 200
    assert client.get(f"/api/keys/{made['id']}").json()["successor"] == successor["id"]


def test_a_key_for_one_model_cannot_see_others(client: httpx.Client) -> None:
    key = client.post("/api/keys", json={"name": "x", "allowed_models": ["other"]}).json()["key"]
    assert client.get("/v1/models", headers=bearer(key)).json()["data"] == []
    reply = client.post("/v1/completions", json=BODY, headers=bearer(key))
    assert reply.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("scopes", [["admin"], ["metrics"]])
def test_a_manager_cannot_give_what_it_has_not_got(client: httpx.Client, scopes: list[str]) -> None:
    manager = client.post("/api/keys", json={"name": "m", "scopes": ["management"]}).json()["key"]
    body = {"name": "wider", "scopes": scopes}
    assert client.post("/api/keys", json=body, headers=bearer(manager)).status_code == 403
    target = client.post("/api/keys", json={"name": "t"}, headers=bearer(manager)).json()["id"]
    patched = client.patch(f"/api/keys/{target}", json={"scopes": scopes}, headers=bearer(manager))
    assert patched.status_code == 403
    assert client.post("/v1/completions", json=BODY, headers=bearer(manager)).status_code == 403


@pytest.mark.parametrize(
    ("own", "wider"),
    [
        ({"rpm": 10}, {}),
        ({"rpm": 10}, {"rpm": 11}),
        ({"expires_at": "2999-01-01T00:00:00Z"}, {}),
        ({"expires_at": "2999-01-01T00:00:00Z"}, {"expires_at": "2999-01-02T00:00:00"}),
    ],
)
def test_a_manager_gives_no_more_than_its_own_bounds(
    client: httpx.Client, own: dict[str, Any], wider: dict[str, Any]
) -> None:
    body = {"name": "m", "scopes": ["management", "inference"], **own}
    made = client.post("/api/keys", json=body).json()
    headers = bearer(made["key"])
    refused = client.post("/api/keys", json={"name": "wide", **wider}, headers=headers)
    assert refused.status_code == 403
    lifted = {name: wider.get(name) for name in own}
    assert client.patch(f"/api/keys/{made['id']}", json=lifted, headers=headers).status_code == 403
    assert client.post("/api/keys", json={"name": "same", **own}, headers=headers).is_success


def test_a_manager_cannot_bring_a_wider_key_back(client: httpx.Client) -> None:
    manager = client.post("/api/keys", json={"name": "m", "scopes": ["management"]}).json()["key"]
    ended = {"name": "a", "scopes": ["admin"], "expires_at": "2020-01-01T00:00:00Z"}
    wider = client.post("/api/keys", json=ended).json()["id"]
    longer = {"expires_at": "2999-01-01T00:00:00Z"}
    path = f"/api/keys/{wider}"
    assert client.patch(path, json=longer, headers=bearer(manager)).status_code == 403
    narrow = longer | {"scopes": ["inference"]}
    assert client.patch(path, json=narrow, headers=bearer(manager)).json()["usable"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_an_end_outside_the_calendar_is_400(client: httpx.Client, moment: str) -> None:
    reply = client.post("/api/keys", json={"name": "x", "expires_at": moment})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "expires_at"


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "a\nb"])
def test_names_that_cannot_be_stored_are_400(client: httpx.Client, name: str) -> None:
    for body in ({"name": name}, {"name": "x", "owner": name}):
        assert client.post("/api/keys", json=body).status_code == 400


def test_a_manager_sees_only_its_owners_keys(client: httpx.Client) -> None:
    body: dict[str, Any] = {"name": "m", "owner": "others", "scopes": ["management"]}
    manager = bearer(client.post("/api/keys", json=body).json()["key"])
    seen = client.get("/api/keys", headers=manager).json()["data"]
    assert {key["owner"] for key in seen} == {"others"}
    mine = client.get("/api/keys").json()["data"]
    foreign = next(key["id"] for key in mine if key["owner"] == "tests")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
        reply = client.request(method, f"/api/keys/{foreign}{path}", headers=manager, json={})
        assert reply.status_code == 404


def test_lists_are_paged(client: httpx.Client) -> None:
    for number in range(3):
        client.post("/api/keys", json={"name": f"page-{number}"})
    first = client.get("/api/keys", params={"limit": 2}).json()
    assert first["has_more"]
    after = first["data"][-1]["id"]
    second = client.get("/api/keys", params={"limit": 2, "after": after}).json()
    assert not {k["id"] for k in first["data"]} & {k["id"] for k in second["data"]}
    assert client.get("/api/keys", params={"limit": "x"}).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        {"group_by": "password"},
        {"start": "yesterday"},
        {"key": "nothere0"},
        {"end": "0001-01-01T00:00:00Z"},
        {"end": "9999-12-31T23:59:59-12:00"},
    ],
)
def test_usage_refuses_bad_queries(client: httpx.Client, query: dict[str, str]) -> None:
    assert client.get("/api/usage", params=query).status_code in (400, 404)


def test_usage_answers_sums_and_rows(client: httpx.Client) -> None:
    found = client.get("/api/usage", params={"group_by": "model,status"}).json()
    assert found["totals"]["requests"] >= 0
    assert isinstance(found["data"], list)
    assert client.get("/api/usage/requests").json()["object"] == "list"


def test_the_document_holds_every_route_we_serve(stranger: httpx.Client) -> None:
    document = stranger.get("/openapi.json").json()
    for consumer in CONSUMERS:
        body = document["paths"][consumer.route]["post"]["requestBody"]
        name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert "model" in document["components"]["schemas"][name]["properties"]
    for path in ("/v1/models", "/tokenize", "/detokenize", "/api/keys", "/api/usage"):
        assert "401" in next(iter(document["paths"][path].values()))["responses"]


def test_the_docs_page_loads_nothing_from_elsewhere(stranger: httpx.Client) -> None:
    page = stranger.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text.replace(str(stranger.base_url), "")
    assert "https://" not in page.text
