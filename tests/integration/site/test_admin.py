"""Every admin page opens, reads little, and writes through services."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.api.models import ApiKey, AuditEvent, Owner, PriceVersion
from apps.api.presets import preset_save
from apps.api.services import key_create, key_edit, owner_get_or_create
from apps.lora.models import Adapter, AdapterVersion
from apps.models.fit import Room, fit_check
from apps.models.models import Desired, EngineInstance, Host, ServedModel, State
from apps.models.services import model_register
from apps.usage.models import UsageDay, UsageHour, UsageKey, UsageRecord
from inference_site.launcher import random_model

pytestmark = pytest.mark.django_db
PAGES = [
    "catalog_servedmodel",
    "catalog_engineinstance",
    "catalog_host",
    "api_apikey",
    "api_owner",
    "api_priceversion",
    "api_auditevent",
    "auth_user",
]
READ_ONLY = ["catalog_engineinstance", "api_auditevent"]
MOST_QUERIES = 12
NOW = datetime(2026, 1, 2, 3, tzinfo=UTC)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    random_model.write(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def staff(client: Client) -> Client:
    user = User.objects.create_superuser("boss")
    client.force_login(user)
    return client


@pytest.fixture
def rows(checkpoint: Path) -> None:
    """Five rows in every table: a page that asks once per row passes the limit of queries."""
    host = Host.objects.create(name="node")
    for n in range(5):
        owner = owner_get_or_create(name=f"owner {n}")
        key_create(owner=owner, name=f"key {n}")
        PriceVersion.objects.create(model=f"m{n}")
        model = model_register(name=f"m{n}", source=str(checkpoint))
        EngineInstance.objects.create(model=model, replica=0, host=host, engine_id=f"e{n}")
        UsageRecord.objects.create(
            rid=f"r{n}", settled_at=NOW, ended_at=NOW, key_id="k", status="ok", finish="stop"
        )
        UsageHour.objects.create(hour=NOW, model=f"m{n}", status="ok", requests=2, total_ms=10)
        UsageDay.objects.create(day=NOW.date(), model=f"m{n}", status="ok")
        User.objects.create_user(f"user {n}")


@pytest.mark.parametrize("page", PAGES)
def test_list_page_opens_within_its_queries(
    page: str, staff: Client, rows: None, django_assert_max_num_queries: type[CaptureQueriesContext]
) -> None:
    with django_assert_max_num_queries(MOST_QUERIES):
        reply = staff.get(reverse(f"admin:{page}_changelist"))
    assert reply.status_code == 200


def test_home_opens_within_its_queries(
    staff: Client, rows: None, django_assert_max_num_queries: type[CaptureQueriesContext]
) -> None:
    for page in (reverse("admin:index"), reverse("admin_operate_live")):
        with django_assert_max_num_queries(MOST_QUERIES):
            assert staff.get(page).status_code == 200


def test_pages_allow_no_inline_script(staff: Client, rows: None) -> None:
    pages = [f"admin:{name}_changelist" for name in (*PAGES, "lora_adapter")]
    pages += ["admin:index", "admin:api_apikey_add", "admin:catalog_servedmodel_add"]
    pages += ["admin:lora_adapter_add", "account:keys", "account:usage", "account:requests"]
    pages += [f"console:{name}" for name in ("usage", "requests", "live", "playground")]
    for page in pages:
        reply = staff.get(reverse(page))
        assert reply.status_code == 200, page
        rules = dict(
            rule.strip().split(" ", 1)
            for rule in reply.headers["Content-Security-Policy"].split(";")
        )
        assert rules["script-src"] == "'self' 'unsafe-eval'"  # Unfold's Alpine evaluates
        text = reply.content.decode()
        scripts = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", text)
        assert [tag for tag in scripts if 'type="application/json"' not in tag] == [], page
        assert re.findall(r"<[a-z][^>]*\son[a-z]+\s*=", text) == [], page


def test_empty_install_says_the_next_step(staff: Client) -> None:
    page = staff.get(reverse("admin:index")).content.decode()
    assert "Nothing is served yet." in page
    assert reverse("admin:catalog_servedmodel_add") in page


BAD_NAMES = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    '" autofocus onfocus=alert(1) x="',
    "</script><script>alert(1)</script>",
    "--><iframe srcdoc='<script>alert(1)</script>'>",
]


@pytest.mark.parametrize("bad", BAD_NAMES)
def test_names_are_text_on_every_page(bad: str, staff: Client, rows: None) -> None:
    """Every name somebody can choose freely, on every page that shows it."""
    user = User.objects.create_user("x", first_name=bad[:100], last_name=bad[:100])
    owner = owner_get_or_create(name=bad)
    key, _ = key_create(owner=owner, name=bad, expires_at=timezone.now() + timedelta(days=2))
    ApiKey.objects.update(created_at=timezone.now() - timedelta(days=90))
    key_edit(key=key, name=f"{bad}!")
    PriceVersion.objects.create(model=bad)
    gpu = {"name": bad, "memory_bytes": 1, "free_bytes": 1, "capability": 9.0}
    Host.objects.create(name=bad, gpus=[gpu])
    ServedModel.objects.filter(name="m0").update(source=bad, aliases=[bad], revision=bad)
    EngineInstance.objects.filter(engine_id="e0").update(
        state=State.FAILED, cause=bad, fix=bad, engine_id=bad
    )
    UsageRecord.objects.filter(rid="r0").update(
        key_name=bad, model=bad, adapter=bad, owner_name=bad, client_request_id=bad
    )
    UsageKey.objects.create(key_id="k", key_name=bad, owner_id="1", owner_name=bad)
    for sums in (UsageDay, UsageHour):
        sums.objects.update(requests=1)
        sums.objects.filter(model="m0").update(key_id="k", model=bad, adapter=bad)
        sums.objects.filter(model="m1").update(model=bad, adapter=bad)
    adapter = Adapter.objects.create(name="a", base=ServedModel.objects.get(name="m0"))
    AdapterVersion.objects.create(
        adapter=adapter, number=1, kind="path", source=bad, cause=bad, fix=bad, problems=[bad],
        state="failed", modules=[bad],
    )  # fmt: skip
    preset = preset_save(user=user, name=bad, content={"system": bad, "columns": [bad]})
    pages = [reverse("admin:index"), *(reverse(f"admin:{page}_changelist") for page in PAGES)]
    pages += [
        reverse("admin:api_apikey_change", args=[key.pk]),
        reverse("admin:api_apikey_rotate", args=[key.pk]),
        reverse("admin:api_owner_change", args=[owner.pk]),
        reverse("admin:auth_user_change", args=[user.pk]),
        reverse("admin:catalog_servedmodel_change", args=[ServedModel.objects.get(name="m0").pk]),
        reverse(
            "admin:catalog_engineinstance_change", args=[EngineInstance.objects.get(cause=bad).pk]
        ),
        *(
            reverse("admin:api_auditevent_change", args=[e.pk])
            for e in AuditEvent.objects.all()[:5]
        ),
        f"{reverse('console:usage')}?range=custom&start=2026-01-01&end=2026-01-03&group=key",
        reverse("console:requests"),
        reverse("console:request", args=["r0"]),
        f"{reverse('console:playground')}?preset={preset.slug}",
        reverse("admin:lora_adapter_changelist"),
        reverse("admin:lora_adapter_change", args=[adapter.pk]),
    ]
    for page in pages:
        reply = staff.get(page)
        assert reply.status_code == 200, page
        assert bad not in reply.content.decode(), page


def test_home_names_the_model_that_needs_help_and_its_fix(staff: Client, rows: None) -> None:
    EngineInstance.objects.filter(engine_id="e0").update(
        state=State.FAILED, cause="The disk is full.", fix="Free some."
    )
    page = staff.get(reverse("admin:index")).content.decode()
    assert "2 things need you." in page  # the other is Redis, which runs in no test of this file
    assert "The disk is full." in page
    assert "Free some." in page


@pytest.mark.parametrize("page", ["catalog_servedmodel", "catalog_engineinstance", "api_apikey"])
def test_detail_page_opens(page: str, staff: Client, rows: None) -> None:
    app, model = page.split("_")
    first = {"servedmodel": ServedModel, "engineinstance": EngineInstance, "apikey": ApiKey}[model]
    pk = first.objects.values_list("pk", flat=True).first()
    assert app
    assert staff.get(reverse(f"admin:{page}_change", args=[pk])).status_code == 200


@pytest.mark.parametrize("page", READ_ONLY)
def test_read_only_page_offers_no_adding(page: str, staff: Client) -> None:
    assert staff.get(reverse(f"admin:{page}_add")).status_code == 403


def test_new_key_is_shown_on_its_page_and_nowhere_else(staff: Client) -> None:
    owner = Owner.objects.create(name="me")
    data = {"owner": owner.pk, "name": "ci", "scopes": ["inference"]}
    reply = staff.post(reverse("admin:api_apikey_add"), data)
    key = ApiKey.objects.get(name="ci")
    text = f"pgd_{key.public_id}_"
    assert reply.status_code == 200
    assert text in reply.content.decode()
    assert "no-store" in reply.headers["Cache-Control"]
    for page in ("api_apikey", "api_auditevent"):
        assert text not in staff.get(reverse(f"admin:{page}_changelist")).content.decode()
    assert AuditEvent.objects.get(action="key.create").actor == "boss"


def test_key_edit_raises_the_epoch(staff: Client) -> None:
    key, _ = key_create(owner=owner_get_or_create(name="me"), name="old")
    data = {"name": "new", "scopes": ["inference"], "rpm": "7"}
    staff.post(reverse("admin:api_apikey_change", args=[key.pk]), data)
    changed = ApiKey.objects.get(pk=key.pk)
    assert (changed.name, changed.rpm) == ("new", 7)
    assert changed.epoch > key.epoch


def test_rotation_shows_the_successor_once_and_keeps_the_old_key_for_its_grace(
    staff: Client,
) -> None:
    key, _ = key_create(owner=owner_get_or_create(name="me"), name="old")
    url = reverse("admin:api_apikey_rotate", args=[key.pk])
    assert staff.get(url).status_code == 200
    page = staff.post(url, {"grace_hours": "24"}).content.decode()
    key.refresh_from_db()
    assert key.usable
    assert key.successor is not None
    assert f"pgd_{key.successor.public_id}_" in page


def test_revoking_needs_a_post_and_ends_the_key(staff: Client) -> None:
    key, _ = key_create(owner=owner_get_or_create(name="me"), name="old")
    url = reverse("admin:api_apikey_revoke", args=[key.pk])
    assert staff.get(url).status_code == 405
    page = staff.post(url, follow=True).content.decode()
    key.refresh_from_db()
    assert not key.usable
    assert "old is revoked" in page


def test_key_can_be_limited_to_models_that_are_served(staff: Client, rows: None) -> None:
    data = {"owner": Owner.objects.all()[0].pk, "name": "ci", "scopes": ["inference"]}
    page = staff.post(reverse("admin:api_apikey_add"), data | {"allowed_models": ["nobody"]})
    assert "Select a valid choice. nobody is not one of the available choices." in _text(page)
    staff.post(reverse("admin:api_apikey_add"), data | {"allowed_models": ["m1", "m2"]})
    assert ApiKey.objects.get(name="ci").allowed_models == ["m1", "m2"]


def test_model_actions_move_the_desired_state(staff: Client, rows: None) -> None:
    model = ServedModel.objects.get(name="m0")
    _act(staff, "catalog_servedmodel", "unload", model.pk)
    model.refresh_from_db()
    assert model.desired == Desired.UNLOADED
    _act(staff, "catalog_servedmodel", "load", model.pk)
    model.refresh_from_db()
    assert model.desired == Desired.LOADED


def test_what_does_not_fit_is_loaded_by_no_button(
    staff: Client, rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.models.admin.rooms_read", lambda: [Room(free_bytes=1 << 20)])
    model = ServedModel.objects.get(name="m0")
    _act(staff, "catalog_servedmodel", "unload", model.pk)
    _act(staff, "catalog_servedmodel", "load", model.pk)
    staff.post(reverse("admin:catalog_servedmodel_act", args=[model.pk, "load"]))
    model.refresh_from_db()
    assert model.desired == Desired.UNLOADED
    page = staff.get(reverse("admin:catalog_servedmodel_changelist")).content.decode()
    assert page.count("m0 was not loaded") == 2


def test_models_loaded_together_must_fit_together(
    staff: Client, rows: None, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"kv_cache_memory_bytes": 1 << 29}  # more than all else an engine takes
    ServedModel.objects.update(engine_options=options, desired=Desired.UNLOADED)
    room = Room(free_bytes=5 << 28)  # for two of them, and half of a third
    assert fit_check(source=str(checkpoint), revision="", options=options, rooms=[room]).fits
    monkeypatch.setattr("apps.models.admin.rooms_read", lambda: [room])
    data = {"action": "load", "_selected_action": [m.pk for m in ServedModel.objects.all()]}
    page = staff.post(reverse("admin:catalog_servedmodel_changelist"), data, follow=True)
    assert ServedModel.objects.filter(desired=Desired.LOADED).count() == 2
    assert page.content.decode().count("was not loaded") == 3


def test_checkpoint_that_is_not_there_is_no_question_of_memory(
    staff: Client, rows: None, checkpoint: Path
) -> None:
    (checkpoint / "model.safetensors").unlink()
    model = ServedModel.objects.get(name="m0")
    page = _text(staff.get(reverse("admin:catalog_servedmodel_change", args=[model.pk])))
    assert "holds no safetensors weights" in page
    assert "cannot be loaded" in page
    assert "does not fit" not in page


def test_new_model_that_cannot_fit_is_refused_beside_its_source(
    staff: Client, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.models.forms.rooms_read", lambda: [Room(free_bytes=1 << 20)])
    data = {"name": "x", "source": str(checkpoint), "aliases": "[]", "replicas": 1}
    page = staff.post(reverse("admin:catalog_servedmodel_add"), data | {"desired": "loaded"})
    assert "1 MiB of memory are free" in _text(page)
    assert not ServedModel.objects.exists()
    staff.post(reverse("admin:catalog_servedmodel_add"), data | {"desired": "unloaded"})
    assert ServedModel.objects.get().name == "x"


def test_fit_is_not_asked_while_the_model_itself_takes_the_memory(
    staff: Client, rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.models.admin.rooms_read", lambda: [Room(free_bytes=1 << 20)])
    model = ServedModel.objects.get(name="m0")
    page = reverse("admin:catalog_servedmodel_change", args=[model.pk])
    model.instances.update(state=State.LOADING)
    assert "does not fit" not in staff.get(page).content.decode()
    model.instances.update(state=State.FAILED)
    assert "does not fit" in staff.get(page).content.decode()


def test_model_with_engines_is_not_forgotten(staff: Client, rows: None) -> None:
    model = ServedModel.objects.get(name="m0")
    _act(staff, "catalog_servedmodel", "forget", model.pk)
    assert ServedModel.objects.filter(name="m0").exists()


def test_bad_engine_option_shows_beside_its_field(staff: Client, checkpoint: Path) -> None:
    data = {
        "name": "x",
        "source": str(checkpoint),
        "aliases": "[]",
        "option_max_model_len": "3",
        "replicas": 1,
        "desired": "loaded",
    }
    page = staff.post(reverse("admin:catalog_servedmodel_add"), data).content.decode()
    assert "max_model_len=3 is out of range" in page
    assert not ServedModel.objects.exists()


def test_deleting_an_owner_is_in_the_audit_log(staff: Client) -> None:
    for name in ("one", "two"):
        Owner.objects.create(name=name)
    one, two = Owner.objects.filter(name__in=("one", "two")).order_by("name")
    staff.post(reverse("admin:api_owner_delete", args=[one.pk]), {"post": "yes"})
    many = {"action": "delete_selected", "_selected_action": [two.pk], "post": "yes"}
    staff.post(reverse("admin:api_owner_changelist"), many)
    gone = AuditEvent.objects.filter(action="owner.delete", actor="boss")
    assert sorted(gone.values_list("subject", flat=True)) == ["one", "two"]


def test_stranger_is_sent_to_the_login(client: Client) -> None:
    reply = client.get(reverse("admin:api_apikey_changelist"))
    assert reply.status_code == 302
    assert reverse("admin:login") in reply.headers["Location"]


def _text(page: HttpResponse) -> str:
    return html.unescape(page.content.decode())


def _act(staff: Client, page: str, action: str, pk: int) -> None:
    data = {"action": action, "_selected_action": [str(pk)]}
    staff.post(reverse(f"admin:{page}_changelist"), data)
