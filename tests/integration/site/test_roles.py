"""Who may open which page and press which button: role × page × action."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import get_resolver, reverse

from apps.api.models import ApiKey, AuditEvent, Owner
from apps.api.roles import Role, login_set_active, login_set_role
from apps.api.selectors import key_read
from apps.api.services import Actor, key_create, owner_get_or_create
from apps.models.bootstrap import password_reset
from apps.models.models import Desired, ServedModel
from apps.models.services import model_register
from engine.errors import InvalidRequest
from inference_site.launcher import random_model

pytestmark = pytest.mark.django_db
ACTOR = Actor("tests")
OWNER, OPERATOR, VIEWER, KEYS = Role.OWNER, Role.OPERATOR, Role.VIEWER, Role.KEYS
STAFF = {OWNER, OPERATOR, VIEWER}
# Page → roles that may open it. Everybody else is refused or sent to the login.
PAGES = {
    "admin:index": STAFF,
    "admin:catalog_servedmodel_changelist": STAFF,
    "admin:catalog_engineinstance_changelist": STAFF,
    "admin:catalog_host_changelist": STAFF,
    "admin:api_apikey_changelist": STAFF,
    "admin:api_owner_changelist": STAFF,
    "admin:api_auditevent_changelist": STAFF,
    "admin:api_priceversion_changelist": STAFF,
    "admin:lora_adapter_changelist": STAFF,
    "console:usage": STAFF,
    "console:requests": STAFF,
    "console:live": STAFF,
    "console:playground": {OWNER, OPERATOR},
    "admin:catalog_servedmodel_add": {OWNER, OPERATOR},
    "admin:api_apikey_add": {OWNER, OPERATOR},
    "admin:api_owner_add": {OWNER, OPERATOR},
    "admin:api_priceversion_add": {OWNER},
    "admin:auth_user_changelist": {OWNER},
    "admin:auth_user_add": {OWNER},
}
# Button → roles that may press it.
BUTTONS = {
    "load": {OWNER, OPERATOR},
    "unload": {OWNER, OPERATOR},
    "restart": {OWNER, OPERATOR},
    "revoke": {OWNER, OPERATOR},
    "rotate": {OWNER, OPERATOR},
}


# Address of our own pages, its argument and method → roles that are let in.
CONSOLE: dict[str, tuple[str, str, set[Role]]] = {
    "usage": ("", "GET", STAFF),
    "usage-export": ("", "POST", STAFF),
    "requests": ("", "GET", STAFF),
    "log-export": ("", "POST", STAFF),
    "request": ("none", "GET", STAFF),
    "live": ("", "GET", STAFF),
    "live-cancel": ("", "POST", {OWNER, OPERATOR}),
    "live-drain": ("", "POST", {OWNER, OPERATOR}),
    "live-resume": ("", "POST", {OWNER, OPERATOR}),
    "playground": ("", "GET", {OWNER, OPERATOR}),
    "playground-key": ("", "POST", {OWNER, OPERATOR}),
    "preset-store": ("", "POST", {OWNER, OPERATOR}),
    "preset-remove": ("none", "POST", {OWNER, OPERATOR}),
}


def log_in(client: Client, role: Role) -> User:
    user = User.objects.create_user(f"the-{role}")
    login_set_role(user=user, role=role, actor=ACTOR)
    client.force_login(user)
    return user


@pytest.fixture
def model(tmp_path: Path) -> ServedModel:
    random_model.write(tmp_path / "tiny")
    return model_register(name="tiny", source=str(tmp_path / "tiny"))


@pytest.fixture
def key() -> ApiKey:
    return key_create(owner=owner_get_or_create(name="somebody"), name="theirs")[0]


@pytest.mark.parametrize("role", Role)
def test_pages_open_for_their_roles_and_no_others(role: Role, client: Client) -> None:
    log_in(client, role)
    opened = {page for page in PAGES if client.get(reverse(page)).status_code == 200}
    assert opened == {page for page, roles in PAGES.items() if role in roles}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("button", BUTTONS)
def test_buttons_work_for_their_roles_and_no_others(
    role: Role, button: str, client: Client, model: ServedModel, key: ApiKey
) -> None:
    log_in(client, role)
    if button in ("revoke", "rotate"):
        url = reverse(f"admin:api_apikey_{button}", args=[key.pk])
    else:
        url = reverse("admin:catalog_servedmodel_act", args=[model.pk, button])
    events = AuditEvent.objects.count()
    client.post(url, {"grace_hours": "0"})
    acted = AuditEvent.objects.count() > events
    assert acted == (role in BUTTONS[button])


def test_table_names_every_page_of_the_console() -> None:
    console = get_resolver().namespace_dict["console"][1]
    assert {name for name in console.reverse_dict if isinstance(name, str)} == set(CONSOLE)


@pytest.mark.parametrize("role", Role)
def test_console_lets_its_roles_in_and_no_others(role: Role, client: Client) -> None:
    log_in(client, role)
    client.raise_request_exception = False  # no Redis here: being let in is all that counts
    let_in = set()
    for name, (argument, method, _) in CONSOLE.items():
        url = reverse(f"console:{name}", args=[argument] if argument else [])
        reply = client.generic(method, url)
        sent_away = reply.status_code == 302 and "/login/" in reply.headers["Location"]
        if reply.status_code != 403 and not sent_away:
            let_in.add(name)
    assert let_in == {name for name, (_, _, roles) in CONSOLE.items() if role in roles}


@pytest.mark.parametrize("role", [VIEWER, KEYS])
def test_forms_of_others_change_nothing(
    role: Role, client: Client, model: ServedModel, key: ApiKey
) -> None:
    log_in(client, role)
    client.post(reverse("admin:api_apikey_change", args=[key.pk]), {"name": "mine"})
    client.post(
        reverse("admin:catalog_servedmodel_change", args=[model.pk]), {"desired": "unloaded"}
    )
    data = {"action": "unload", "_selected_action": [str(model.pk)]}
    client.post(reverse("admin:catalog_servedmodel_changelist"), data)
    model.refresh_from_db()
    key.refresh_from_db()
    assert (model.desired, key.name) == (Desired.LOADED, "theirs")


def test_nobody_deletes_or_edits_history(client: Client, key: ApiKey) -> None:
    log_in(client, OWNER)
    event = AuditEvent.objects.latest("pk")
    page = reverse("admin:api_auditevent_change", args=[event.pk])
    assert client.post(page, {"actor": "nobody"}).status_code == 403
    assert client.post(reverse("admin:api_apikey_delete", args=[key.pk])).status_code == 403


def test_owner_makes_a_login_with_a_role_and_it_is_audited(client: Client) -> None:
    log_in(client, OWNER)
    word = "correct horse battery"
    data = {"username": "vera", "role": "viewer", "password1": word, "password2": word}
    client.post(reverse("admin:auth_user_add"), data)
    vera = User.objects.get(username="vera")
    assert vera.has_perm("catalog.view_servedmodel")
    assert not vera.has_perm("catalog.change_servedmodel")
    assert set(AuditEvent.objects.filter(subject="vera").values_list("action", flat=True)) == {
        "login.create",
        "login.role",
    }


def test_login_for_keys_only_gets_an_owner_of_its_own(client: Client) -> None:
    user = log_in(client, KEYS)
    assert Owner.objects.get(user=user).name == user.username


@pytest.mark.parametrize("name", ["alice", "a" * 150])
def test_login_whose_name_an_owner_has_already_gets_another(name: str) -> None:
    team = Owner.objects.create(name=name[:100], kind=Owner.Kind.TEAM)
    user = User.objects.create_user(name)
    login_set_role(user=user, role=KEYS, actor=ACTOR)
    own = Owner.objects.get(user=user)
    own.full_clean()
    assert own != team
    assert own.name.startswith(name[:100])


def test_last_owner_stays_owner_and_active(client: Client) -> None:
    user = log_in(client, OWNER)
    with pytest.raises(InvalidRequest, match="last owner"):
        login_set_active(user=user, active=False, actor=ACTOR)
    with pytest.raises(InvalidRequest, match="last owner"):
        login_set_role(user=user, role=VIEWER, actor=ACTOR)


def test_switching_a_login_off_ends_the_keys_of_its_owners(client: Client) -> None:
    log_in(client, OWNER)
    user = User.objects.create_user("leaver")
    owner = Owner.objects.create(name="leaver", user=user)
    key, _ = key_create(owner=owner, name="laptop")
    page = reverse("admin:auth_user_change", args=[user.pk])
    client.post(page, {"username": "leaver", "role": "keys"})  # no tick at is_active
    known = key_read(key.public_id)
    assert known is not None
    assert known.dead
    assert known.epoch > key.epoch  # what web processes remember is stale
    assert not ApiKey.objects.usable().filter(pk=key.pk).exists()


def test_a_new_password_lets_the_keys_of_its_owner_in_again(client: Client, tmp_path: Path) -> None:
    user = log_in(client, VIEWER)
    owner = Owner.objects.create(name="mine", user=user)
    key, _ = key_create(owner=owner, name="laptop")
    login_set_active(user=user, active=False, actor=ACTOR)
    before = key_read(key.public_id)
    password_reset(username=user.username, home=tmp_path)
    after = key_read(key.public_id)
    assert before is not None
    assert after is not None
    assert (before.dead, after.dead) == (True, False)
    assert after.epoch > before.epoch


def test_login_is_in_the_audit_log(client: Client) -> None:
    log_in(client, VIEWER)
    assert AuditEvent.objects.filter(action="login.in", subject="the-viewer").exists()


def test_too_many_wrong_passwords_lock_the_login(client: Client, settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick
    User.objects.create_superuser("boss", password="right")
    data = {"username": "boss", "password": "wrong"}
    replies = [client.post(reverse("admin:login"), data).status_code for _ in range(10)]
    assert replies[-1] == 429
    data["password"] = "right"
    assert client.post(reverse("admin:login"), data).status_code == 429
