"""Pages of adapters: few queries, buttons that call services, names shown as text."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from apps.api.models import AuditEvent
from apps.api.roles import Role, login_set_role
from apps.api.services import key_create, owner_get_or_create
from apps.lora import services
from apps.lora.models import Adapter, AdapterVersion, VersionState
from apps.lora.services import version_add, version_refuse, version_switch
from apps.lora.sources import source_from
from apps.models.models import Desired, ServedModel
from tests.integration.lora.conftest import added

MOST_QUERIES = 12
LIST, ADD, OPEN = (reverse(f"admin:lora_adapter_{n}") for n in ("changelist", "add", "open"))


@pytest.fixture
def staff(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.fixture
def adapters(base: ServedModel) -> list[Adapter]:
    """Five with two versions each, one of them refused."""
    for number in range(5):
        version_switch(version=added(f"a{number}", str(number) * 64))
        bad = version_add(name=f"a{number}", source=source_from("terse"))
        version_refuse(
            version=bad,
            problems=["<b>r</b> is 0.", "bias is 'all'."],
            cause="2 problems.",
            fix="Mend.",
        )
    return list(Adapter.objects.order_by("name"))


def page_of(adapter: Adapter) -> str:
    return reverse("admin:lora_adapter_change", args=[adapter.pk])


def press(staff: Client, adapter: Adapter, verb: str, **data: Any) -> Any:
    return staff.post(reverse("admin:lora_adapter_act", args=[adapter.pk, verb]), data)


def test_pages_open_within_their_queries(
    staff: Client, adapters: list[Adapter], django_assert_max_num_queries: Any
) -> None:
    live = reverse("admin:lora_adapter_live", args=[adapters[0].pk])
    for url in (LIST, ADD, page_of(adapters[0]), live):
        with django_assert_max_num_queries(MOST_QUERIES):
            assert staff.get(url).status_code == 200


def test_page_names_every_problem_as_text(staff: Client, adapters: list[Adapter]) -> None:
    page = staff.get(page_of(adapters[0])).content.decode()
    assert "&lt;b&gt;r&lt;/b&gt; is 0." in page
    assert "bias is &#x27;all&#x27;." in page
    assert "<b>r</b>" not in page


def test_page_names_the_keys_that_may_use_it(staff: Client, adapters: list[Adapter]) -> None:
    owner = owner_get_or_create(name="me")
    key_create(owner=owner, name="pirates only", allowed_models=["a0"])
    key_create(owner=owner, name="others", allowed_models=["a1"])
    key_create(owner=owner, name="free")
    page = staff.get(page_of(adapters[0])).content.decode()
    assert "pirates only" in page
    assert "others" not in page
    assert "1 key may use every model and adapter" in page


def test_buttons_call_the_services(staff: Client, adapters: list[Adapter]) -> None:
    adapter = adapters[0]
    press(staff, adapter, "pin")
    adapter.refresh_from_db()
    assert adapter.pinned
    press(staff, adapter, "unload")
    adapter.refresh_from_db()
    assert adapter.desired == Desired.UNLOADED
    assert press(staff, adapter, "delete").url == page_of(adapter)  # still draining
    services.version_move(
        version=adapter.versions.get(number=1), to=VersionState.UNLOADED, was=("draining",)
    )
    press(staff, adapter, "load")
    adapter.refresh_from_db()
    assert adapter.desired == Desired.LOADED
    press(staff, adapter, "roll_back", version="1")
    assert press(staff, adapter, "roll_back", version="x").status_code == 404
    assert press(staff, adapter, "explode").status_code == 404
    actions = AuditEvent.objects.filter(subject="a0", actor="boss")
    assert {"adapter.pin", "adapter.unload", "adapter.load", "adapter.roll_back"} == set(
        actions.values_list("action", flat=True)
    )


def test_buttons_want_a_post(staff: Client, adapters: list[Adapter]) -> None:
    url = reverse("admin:lora_adapter_act", args=[adapters[0].pk, "unload"])
    assert staff.get(url).status_code == 405
    assert staff.get(OPEN).status_code == 405


def test_number_that_is_none_is_not_found(staff: Client, adapters: list[Adapter]) -> None:
    assert staff.get("/admin/lora/adapter/²/change/").status_code == 404
    act = reverse("admin:lora_adapter_act", args=[adapters[0].pk, "roll_back"])
    assert staff.post(act, {"version": "²"}).status_code == 404


def test_opening_an_upload_gives_a_page_and_a_ticket(staff: Client, base: ServedModel) -> None:
    told = staff.post(OPEN, {"name": "mine", "base": "demo", "load": "on"}).json()
    version = AdapterVersion.objects.get()
    assert told["page"] == page_of(version.adapter)
    assert set(told["upload"]["files"]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert told["upload"]["ticket"] not in str(vars(version))
    refused = staff.post(OPEN, {"name": "../x", "base": "demo"})
    assert refused.status_code == 400
    assert "name" in refused.json()["error"]


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.OPERATOR, {"list", "page", "add", "act", "open"}),
        (Role.VIEWER, {"list", "page"}),
        (Role.KEYS, set()),
    ],
)
def test_roles_see_and_do_what_they_may(
    role: Role, allowed: set[str], client: Client, adapters: list[Adapter]
) -> None:
    user = User.objects.create_user("someone")
    login_set_role(user=user, role=role, actor=services.SYSTEM)
    client.force_login(user)
    act = reverse("admin:lora_adapter_act", args=[adapters[0].pk, "pin"])
    replies = {
        "list": client.get(LIST),
        "page": client.get(page_of(adapters[0])),
        "add": client.get(ADD),
        "act": client.post(act),
        "open": client.post(OPEN, {"name": "x", "base": "demo"}),
    }
    adapters[0].refresh_from_db()
    assert adapters[0].pinned == ("act" in allowed)
    assert Adapter.objects.filter(name="x").exists() == ("open" in allowed)
    replies.pop("act")
    seen = {name for name, reply in replies.items() if reply.status_code == 200}
    assert seen == allowed - {"act"}


def test_empty_list_says_what_an_adapter_is(staff: Client, base: ServedModel) -> None:
    assert "No adapter yet." in staff.get(LIST).content.decode()


def test_loaded_model_is_offered_first_as_base(staff: Client, base: ServedModel) -> None:
    ServedModel.objects.create(name="a", source="/tmp", desired=Desired.UNLOADED)
    page = staff.get(ADD).content.decode()
    assert page.index(f'value="{base.name}"') < page.index('value="a"')
