"""What people who log in may do. A role is a name; this file says what it allows.

`owner` is Django's superuser. `operator` and `viewer` are the groups of these names, whose
permissions are computed here and not stored: a page that is added later is covered at once.
People without a role reach no page of the admin; they see their own keys at /account/.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.apps import apps
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, User
from django.db import models, transaction
from django.db.models import F

from apps.api.models import ApiKey, Owner
from apps.api.services import Actor, audit_record, epochs_publish
from engine.errors import InvalidRequest

SHOWN = ("catalog", "lora", "api", "usage")  # apps whose pages every role may look at
OPERATED = {  # what an operator may change; everything else is the owner's
    "catalog": "*",
    "lora": "*",
    "api": ("apikey", "owner"),
}
VERBS = ("add", "change", "delete")
FOR_OPERATORS = {"usage.view_storedbody"}  # what others wrote: more than a look at the service
LONGEST_NAME = 100  # of a login in its owner's name: logins may be longer than owners


class Role(models.TextChoices):
    OWNER = "owner", "Owner: everything, also logins and prices"
    OPERATOR = "operator", "Operator: models, engines, adapters and keys"
    VIEWER = "viewer", "Viewer: looks at everything, changes nothing"
    KEYS = "keys", "Own keys only: no admin pages"


GROUPS = (Role.OPERATOR, Role.VIEWER)


def role_of(user: User) -> Role:
    """One query, none for an owner or for users with prefetched groups."""
    if user.is_superuser:
        return Role.OWNER
    names = {group.name for group in user.groups.all()}
    return next((role for role in GROUPS if role in names), Role.KEYS)


def permissions_of(role: Role) -> set[str]:
    """Names as Django asks for them: `catalog.change_servedmodel`."""
    if role not in GROUPS:
        return set()
    allowed = set()
    for label in SHOWN:
        for model in apps.get_app_config(label).get_models():
            name = model._meta.model_name or ""
            allowed.add(f"{label}.view_{name}")
            mine = OPERATED.get(label, ())
            if role == Role.OPERATOR and (mine == "*" or name in mine):
                allowed |= {f"{label}.{verb}_{name}" for verb in VERBS}
    return allowed if role == Role.OPERATOR else allowed - FOR_OPERATORS


class RoleBackend(ModelBackend):
    """Django's login with permissions by role. There are no permissions of single users."""

    def get_user_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Any = None
    ) -> set[str]:
        return set()

    def get_group_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Any = None
    ) -> set[str]:
        if not isinstance(user_obj, User) or not user_obj.is_active or obj is not None:
            return set()
        return permissions_of(role_of(user_obj))


@transaction.atomic
def login_set_role(*, user: User, role: Role, actor: Actor) -> None:
    """Give a login one role in place of the one it had. Raises `InvalidRequest` when it is the
    last owner. A login for keys only gets an owner of its name to hold them."""
    before = role_of(user)
    if role != Role.OWNER:
        _keep_one_owner(user)
    user.is_superuser, user.is_staff = role == Role.OWNER, role != Role.KEYS
    user.save(update_fields=["is_superuser", "is_staff"])
    user.groups.set([Group.objects.get_or_create(name=role)[0]] if role in GROUPS else [])
    if role == Role.KEYS:
        own_owner(user)
    audit_record(actor=actor, action="login.role", subject=user.username, before=before, after=role)


def own_owner(user: User) -> Owner:
    """The first owner that is this person's; made when there is none. A team that happens to have
    the login's name is not theirs."""
    if (owner := user.owners.order_by("pk").first()) is not None:
        return owner
    name = user.username[:LONGEST_NAME]
    owner, _ = Owner.objects.get_or_create(name=name, defaults={"user": user})
    if owner.user_id == user.pk:
        return owner
    return Owner.objects.create(name=f"{name} ({secrets.token_hex(4)})", user=user)


@transaction.atomic
def login_set_active(*, user: User, active: bool, actor: Actor) -> None:
    """Let a person in, or keep them out: their pages and the keys of their owners end now.
    Raises `InvalidRequest` when it is the last owner."""
    if not active:
        _keep_one_owner(user)
    user.is_active = active
    user.save(update_fields=["is_active"])
    ApiKey.objects.filter(owner__user=user).update(epoch=F("epoch") + 1)
    audit_record(actor=actor, action="login.active", subject=user.username, active=active)
    transaction.on_commit(epochs_publish)


def _keep_one_owner(user: User) -> None:
    others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk)
    if user.is_superuser and not others.exists():
        raise InvalidRequest(
            f"{user.username} is the last owner. Make somebody else an owner first.", param="role"
        )
