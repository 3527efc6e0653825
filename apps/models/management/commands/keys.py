"""`pagoda keys …`: create, list, rotate and revoke API keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.api.models import LIMITS, ApiKey, Scope
from apps.api.selectors import keys_visible
from apps.api.services import (
    Actor,
    KeyLimits,
    key_create,
    key_revoke,
    key_rotate,
    owner_get_or_create,
)
from engine.errors import PagodaError

ACTOR = Actor("command line")


class Command(BaseCommand):
    """Thin: every verb calls one service."""

    help = "Create, list, rotate and revoke API keys."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="make a key; its text is shown once")
        create.add_argument("name")
        create.add_argument("--owner", default="default", help="person or team (made if missing)")
        create.add_argument(
            "--scope", action="append", choices=Scope.values, help="default: inference"
        )
        create.add_argument("--model", action="append", default=[], help="default: all models")
        for limit in LIMITS:
            create.add_argument(f"--{limit.replace('_', '-')}", type=int)
        create.add_argument("--days", type=float, help="the key ends after this many days")
        verbs.add_parser("list", help="all keys, without their secrets")
        rotate = verbs.add_parser("rotate", help="a successor with the same rights")
        rotate.add_argument("public_id")
        rotate.add_argument("--grace-hours", type=float, default=0)
        revoke = verbs.add_parser("revoke", help="end a key now")
        revoke.add_argument("public_id")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['verb']}")(options)
        except PagodaError as error:
            raise CommandError(error.message) from None

    def _create(self, options: dict[str, Any]) -> None:
        days = options["days"]
        limits = KeyLimits(**{name: options[name] for name in LIMITS})
        _, text = key_create(
            owner=owner_get_or_create(name=options["owner"]),
            name=options["name"],
            scopes=options["scope"] or [Scope.INFERENCE],
            allowed_models=options["model"],
            limits=limits,
            expires_at=timezone.now() + timedelta(days=days) if days else None,
            actor=ACTOR,
        )
        self.stdout.write(text)

    def _list(self, options: dict[str, Any]) -> None:
        for key in keys_visible():
            state = "usable" if key.usable else "ended"
            scopes = ",".join(key.scopes)
            self.stdout.write(f"{key.public_id}  {state:6}  {key.owner.name}  {key.name}  {scopes}")

    def _rotate(self, options: dict[str, Any]) -> None:
        key = _key(options["public_id"])
        _, text = key_rotate(key=key, grace_hours=options["grace_hours"], actor=ACTOR)
        self.stdout.write(text)

    def _revoke(self, options: dict[str, Any]) -> None:
        key_revoke(key=_key(options["public_id"]), actor=ACTOR)
        self.stdout.write("revoked")


def _key(public_id: str) -> ApiKey:
    """By public id, with or without the pgd_ in front of it."""
    short = public_id.removeprefix("pgd_")[:8]
    key = keys_visible().filter(public_id=short).first()
    if key is None:
        raise CommandError(f"There is no key {public_id!r}. See: pagoda keys list")
    return key
