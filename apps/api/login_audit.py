"""Every login of a person is in the audit log. Django tells of it by its signal only."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest

from apps.api.services import Actor, audit_record


def note_login(sender: Any, request: HttpRequest, user: User, **rest: Any) -> None:
    actor = Actor(user.username, request.META.get("REMOTE_ADDR") or None)
    audit_record(actor=actor, action="login.in", subject=user.username)


def watch_logins() -> None:
    user_logged_in.connect(note_login, dispatch_uid="audit-logins")
