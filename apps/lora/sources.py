"""Where the files of a version come from: an upload, a folder of the server, or a hub id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from apps.api.models import Owner
from apps.lora import store
from apps.lora.models import SourceKind
from engine.errors import InvalidRequest

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a version's files come from."""

    kind: str
    text: str = ""  # resolved folder or hub id; empty for an upload
    owner: Owner | None = None  # whose quota an upload counts against


def source_from(text: str, *, anywhere: bool = False, owner: Owner | None = None) -> Source:
    """A folder (absolute, or a name below one of the adapter roots) or a hub id.

    `anywhere` is for operators with a shell on this host. Raises `InvalidRequest`.
    """
    is_folder = text.startswith(("/", "~", ".")) or "/" not in text
    if is_folder or (anywhere and Path(text).is_dir()):
        return Source(
            kind=SourceKind.FOLDER, text=store.folder_allowed(text, anywhere=anywhere), owner=owner
        )
    if not HUB_ID.fullmatch(text):
        raise InvalidRequest(
            f"{text[:200]!r} is neither a folder nor a hub id of the form owner/name.",
            param="source",
        )
    return Source(kind=SourceKind.HUB, text=text, owner=owner)
