"""The two secrets on disk: Django's key and the pepper of API key digests. Files are 0600."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from engine.settings import SettingError
from inference_site.config import ServerSettings

MIN_CHARS = 32


@dataclass(frozen=True, slots=True)
class Secrets:
    """`repr` hides the values, so that no log or error page can show them."""

    secret_key: str
    pepper: bytes

    def __repr__(self) -> str:
        return "Secrets(…)"


def load_secrets(settings: ServerSettings) -> Secrets:
    """Read both; embedded mode makes what is missing. Raises `SettingError` otherwise."""
    key = settings.secret_key or _from_file(settings, settings.secret_key_file, "django")
    pepper = settings.key_pepper or _from_file(settings, settings.key_pepper_file, "pepper")
    for name, value in (("PAGODA_SECRET_KEY", key), ("PAGODA_KEY_PEPPER", pepper)):
        if len(value) < MIN_CHARS:
            raise SettingError(f"{name} has {len(value)} characters; use at least {MIN_CHARS}.")
    return Secrets(key, pepper.encode())


def database_password(settings: ServerSettings) -> str | None:
    """From `database_password_file`; None: the URL holds it. Raises `SettingError`."""
    path = settings.database_password_file
    if path is None:
        return None
    try:
        return path.read_text().strip()
    except OSError as error:
        raise SettingError(f"PAGODA_DATABASE_PASSWORD_FILE={path}: {error.strerror}.") from None


def _from_file(settings: ServerSettings, given: Path | None, name: str) -> str:
    path = given or settings.home / "secrets" / name
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        if given is not None or not settings.embedded:
            raise SettingError(
                f"The secret file {path} does not exist. Write at least {MIN_CHARS} random "
                "characters into it (mode 0600)."
            ) from None
    except OSError as error:
        raise SettingError(f"The secret file {path} cannot be read: {error.strerror}.") from None
    return _create(path)


def _create(path: Path) -> str:
    """Write a random secret. Two processes that race both read the one that was linked first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first
    finally:
        draft.unlink()
    return path.read_text().strip()
