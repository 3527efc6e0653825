"""Texts in the admin: off by default, switched on with the owner's word, shown to few, deleted."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.api.models import ApiKey, AuditEvent, Owner
from apps.api.roles import Role
from apps.api.services import key_create, key_edit, key_rotate
from apps.usage import bodies
from apps.usage.bodies import MAX_BYTES, Body, bodies_add, body_read, request_read
from apps.usage.models import StoredBody, UsageRecord
from apps.usage.retention import usage_prune
from engine.errors import InvalidRequest

pytestmark = pytest.mark.django_db
EVIL = "<script>alert(1)</script>"
REQUEST = {"model": "m", "messages": [{"role": "user", "content": EVIL}]}


@pytest.fixture
def key() -> ApiKey:
    owner = Owner.objects.create(name="alice", user=User.objects.create_user("alice"))
    return key_create(owner=owner, name="app", keep_bodies_days=7)[0]


def add(key: ApiKey, rid: str = "r", answer: bytes = b'{"choices": []}') -> None:
    request = json.dumps(REQUEST).encode()
    bodies_add([Body(rid, key.public_id, request, len(request), answer, len(answer))])


def row(key: ApiKey, rid: str = "r") -> None:
    now = timezone.now()
    UsageRecord.objects.create(
        rid=rid, settled_at=now, ended_at=now, status="ok", finish="stop",
        route="/v1/chat/completions", key_id=key.public_id, owner_id=str(key.owner_id),
    )  # fmt: skip


def test_nothing_is_kept_unless_the_key_says_so(key: ApiKey) -> None:
    silent = key_create(owner=key.owner, name="other")[0]
    assert silent.keep_bodies_days is None
    add(silent, "silent")
    add(key, "kept")
    assert list(StoredBody.objects.values_list("rid", flat=True)) == ["kept"]


def test_switching_off_deletes_at_once_and_fewer_days_bring_the_end_forward(key: ApiKey) -> None:
    other = key_create(owner=key.owner, name="other", keep_bodies_days=7)[0]
    add(key, "mine")
    add(other, "theirs")
    stored = StoredBody.objects.get(rid="mine").stored_at
    key_edit(key=key, keep_bodies_days=2)
    assert StoredBody.objects.get(rid="mine").ends_at == stored + timedelta(days=2)
    key_edit(key=key, keep_bodies_days=30)  # what was promised stays
    assert StoredBody.objects.get(rid="mine").ends_at == stored + timedelta(days=2)
    key_edit(key=key, keep_bodies_days=None)
    assert list(StoredBody.objects.values_list("rid", flat=True)) == ["theirs"]
    add(key, "late")  # began before the switch
    assert not StoredBody.objects.filter(rid="late").exists()


@pytest.mark.parametrize("days", [0, 366, True, "7"])
def test_days_must_be_a_number_of_days(key: ApiKey, days: Any) -> None:
    with pytest.raises(InvalidRequest, match="from 1 to 365"):
        key_edit(key=key, keep_bodies_days=days)


def test_retention_deletes_what_is_due(key: ApiKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BATCH", 2)
    now = timezone.now()
    for rid in ("due1", "due2", "due3", "kept", "rowless"):
        add(key, rid)
    StoredBody.objects.filter(rid__startswith="due").update(ends_at=now - timedelta(seconds=1))
    StoredBody.objects.filter(rid="rowless").update(stored_at=now - timedelta(days=91))
    assert body_read("due1") is None  # not shown, though the job has not come by yet
    assert request_read("due1") is None
    usage_prune(days=90)
    assert list(StoredBody.objects.values_list("rid", flat=True)) == ["kept"]


def test_long_texts_are_cut_and_say_so(key: ApiKey) -> None:
    text = "é" * MAX_BYTES
    whole = json.dumps({"text": text}, ensure_ascii=False).encode()
    answer = b"data: " + json.dumps({"choices": [{"index": 0, "text": "begin"}]}).encode()
    cut = Body("r", key.public_id, whole[:MAX_BYTES], len(whole), answer + b"\n\ndata: {", 1 << 21)
    bodies_add([cut])
    shown = body_read("r")
    assert shown is not None
    assert (shown.request_cut, shown.answer_cut, shown.said) == (True, True, "begin")
    assert request_read("r") is None
    assert len(bytes(StoredBody.objects.get().request)) < MAX_BYTES / 100


STREAMS = {
    "chat": [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"content": "Hel"}}]},
        {"choices": [{"index": 0, "delta": {"content": "lo"}}]},
        {"choices": [], "usage": {}},
    ],
    "calls": [
        {"choices": [{"delta": {"tool_calls": [{"function": {"name": "Hel"}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "lo"}}]}}]},
    ],
    "responses": [
        {"type": "response.output_text.delta", "delta": "Hel"},
        {"type": "response.output_text.delta", "delta": "lo"},
    ],
    "messages": [
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    ],
}


@pytest.mark.parametrize("api", STREAMS)
def test_text_of_a_stream_is_put_together(key: ApiKey, api: str) -> None:
    stream = "".join(f"event: x\ndata: {json.dumps(event)}\n\n" for event in STREAMS[api])
    add(key, answer=stream.encode() + b"data: [DONE]\n\n")
    shown = body_read("r")
    assert shown is not None
    assert shown.said == "Hello"


def test_form_switches_it_on_only_with_the_owners_word(key: ApiKey, admin_client: Client) -> None:
    page = reverse("admin:api_apikey_change", args=[key.pk])
    data = {"name": "app", "scopes": "inference", "keep_bodies_days": "14"}
    refused = admin_client.post(page, data).content.decode()
    assert "texts are kept only with a yes" in refused
    assert "not encrypted" in refused
    assert admin_client.post(page, data | {"keep_bodies_days": "3"}).status_code == 302  # fewer
    assert admin_client.post(page, data | {"consent": "on"}).status_code == 302
    key.refresh_from_db()
    assert key.keep_bodies_days == 14
    event = AuditEvent.objects.filter(action="key.edit").first()
    assert event is not None
    assert event.detail["after"]["keep_bodies_days"] == 14


def test_successor_keeps_texts_as_its_predecessor_did(key: ApiKey) -> None:
    assert key_rotate(key=key)[0].keep_bodies_days == 7


@pytest.mark.parametrize(
    ("role", "sees"), [(Role.OWNER, True), (Role.OPERATOR, True), (Role.VIEWER, False)]
)
def test_operators_see_texts_and_viewers_do_not(key: ApiKey, role: Role, sees: bool) -> None:
    user = User.objects.create_user("u", is_staff=True, is_superuser=role == Role.OWNER)
    if role != Role.OWNER:
        user.groups.add(Group.objects.get_or_create(name=role)[0])
    row(key)
    add(key)
    client = Client()
    client.force_login(user)
    page = client.get(reverse("console:request", args=["r"])).content.decode()
    assert ("&lt;script&gt;alert(1)" in page) == sees
    assert ("Texts" in page) == sees
    assert EVIL not in page


def test_owner_of_a_key_sees_its_texts_and_that_they_are_kept(key: ApiKey) -> None:
    row(key)
    add(key)
    client = Client()
    client.force_login(key.owner.user)  # type: ignore[arg-type]
    page = client.get(reverse("account:request", args=["r"])).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    keys = client.get(reverse("account:keys")).content.decode()
    assert "requests and answers are stored for 7 days" in keys
