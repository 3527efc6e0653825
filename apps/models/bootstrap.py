"""The first login and the first key of embedded mode, kept in `bootstrap.json` (0600)."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from django.contrib.auth import get_user_model
from django.db import transaction

from apps.api import keyformat
from apps.api.models import ApiKey, Scope
from apps.api.roles import login_set_active
from apps.api.selectors import pepper
from apps.api.services import Actor, key_create, owner_get_or_create
from engine.errors import NotFound
from inference_site.config import ServerSettings

ADMIN = "admin"
OWNER = "bootstrap"
SCOPES = (Scope.INFERENCE, Scope.ADAPTERS)
ACTOR = Actor("serve")


def bootstrap_path(home: Path) -> Path:
    return home / "bootstrap.json"


def bootstrap_ensure(settings: ServerSettings) -> None:
    """Make what is missing; what the file holds and the database knows stays as it is."""
    path = bootstrap_path(settings.home)
    known = _read(path)
    root = settings.listen_url
    facts = {
        "base_url": root,
        "admin_url": f"{root}/admin/",
        "admin_user": known.get("admin_user", ADMIN),
        "admin_password": _password(known),
        "api_key": _api_key(settings, known),
    }
    if facts != known:
        _write(path, facts)


def password_reset(*, username: str, home: Path) -> str:
    """Give a staff user a new random password; the bootstrap file follows. Raises `NotFound`."""
    user = get_user_model().objects.filter(username=username, is_staff=True).first()
    if user is None:
        raise NotFound(f"There is no staff user '{username}'. See: pagoda createsuperuser")
    password = secrets.token_urlsafe(15)
    with transaction.atomic():
        user.set_password(password)
        user.save(update_fields=["password"])
        if not user.is_active:
            login_set_active(user=user, active=True, actor=ACTOR)  # wakes the person's keys, too
    path = bootstrap_path(home)
    known = _read(path)
    if known.get("admin_user") == username:
        _write(path, known | {"admin_password": password})
    return password


def api_key_import(text: str) -> None:
    """Accept a key the operator chose. Raises `InvalidRequest` if its form is wrong."""
    if not _usable(text, chosen=True):
        key_create(
            owner=owner_get_or_create(name=OWNER),
            name="bootstrap",
            scopes=SCOPES,
            actor=ACTOR,
            text=text,
        )


def _password(known: dict[str, str]) -> str:
    users = get_user_model().objects
    name = known.get("admin_user", ADMIN)
    if users.filter(username=name).exists() and "admin_password" in known:
        return known["admin_password"]
    password = secrets.token_urlsafe(15)
    user = users.filter(username=name).first()
    if user is None:
        users.create_superuser(username=name, password=password)
    else:  # the file was deleted: its password cannot be known any more
        user.set_password(password)
        user.save(update_fields=["password"])
    return password


def _api_key(settings: ServerSettings, known: dict[str, str]) -> str:
    if settings.api_key:
        api_key_import(settings.api_key)
        return settings.api_key
    if _usable(known.get("api_key", "")):
        return known["api_key"]
    owner = owner_get_or_create(name=OWNER)
    return key_create(owner=owner, name="bootstrap", scopes=SCOPES, actor=ACTOR)[1]


def _usable(text: str, *, chosen: bool = False) -> bool:
    """Whether the database knows it. A word of the operator's own holds while the setting does."""
    public_id = keyformat.public_id_of(text)
    if public_id is None and chosen and keyformat.is_word(text):
        public_id = keyformat.chosen_id(text, pepper())
    return public_id is not None and ApiKey.objects.usable().filter(public_id=public_id).exists()


def _read(path: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _write(path: Path, facts: dict[str, str]) -> None:
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=2)
        file.write("\n")
    draft.replace(path)
