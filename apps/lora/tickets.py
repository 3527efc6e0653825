"""Uploads: a ticket lets whoever holds it send the two files of one version."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import partial

from django.db import transaction
from django.utils import timezone

from apps.api.models import Owner
from apps.api.services import Actor
from apps.lora.config import FILES
from apps.lora.jobs import check_soon
from apps.lora.models import AdapterVersion, SourceKind, VersionState
from apps.lora.services import version_add
from apps.lora.sources import Source
from engine.errors import InvalidRequest

MAX_OPEN_UPLOADS = 50  # of one owner; those of the admin site count as one


def upload_open(
    *,
    name: str,
    base: str | None,
    load: bool,
    owner: Owner | None,
    actor: Actor,
    pinned: bool = False,
) -> tuple[AdapterVersion, str]:
    """A version whose two files will be sent; the second value is the ticket to send them with.

    Raises what `version_add` raises, and `InvalidRequest` when too many uploads are open.
    """
    mine = AdapterVersion.objects.exclude(ticket_digest="").filter(owner=owner)
    if mine.count() >= MAX_OPEN_UPLOADS:
        raise InvalidRequest(
            f"{MAX_OPEN_UPLOADS} uploads of yours are open; finish some of them first.",
            param="upload",
        )
    ticket = secrets.token_urlsafe(32)
    with transaction.atomic():
        version = version_add(
            name=name, source=Source(kind=SourceKind.UPLOAD, owner=owner), base=base, load=load,
            pinned=pinned, actor=actor,
        )  # fmt: skip
        version.ticket_digest = hashlib.sha256(ticket.encode()).hexdigest()
        version.save(update_fields=["ticket_digest"])
    return version, ticket


def upload_find(version_id: int, ticket: str) -> AdapterVersion | None:
    """The open upload this ticket belongs to. One query."""
    version = AdapterVersion.objects.select_related("adapter").filter(pk=version_id).first()
    given = hashlib.sha256(ticket.encode()).hexdigest()
    if version is None or not hmac.compare_digest(given, version.ticket_digest or "-"):
        return None
    return version if version.state == VersionState.REGISTERED else None


def upload_file_done(*, version: AdapterVersion, file: str, sha256: str) -> bool:
    """Note a received file. True when both are noted: the check begins, the ticket is spent.

    Raises `InvalidRequest` when the adapter was deleted meanwhile.
    """
    with transaction.atomic():
        row = AdapterVersion.objects.select_for_update().filter(pk=version.pk).first()
        if row is None:
            raise InvalidRequest("The adapter of this upload was deleted. Add it again.")
        hashes = {**row.hashes, file: sha256}
        complete = hashes.keys() >= set(FILES)
        AdapterVersion.objects.filter(pk=row.pk).update(
            hashes=hashes, since=timezone.now(), **({"ticket_digest": ""} if complete else {})
        )
        if complete:
            transaction.on_commit(partial(check_soon, row.pk))
    return complete
