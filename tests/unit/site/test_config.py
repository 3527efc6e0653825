"""Settings of the server: good values, refusals that name the key, secrets on disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from engine.settings import SettingError
from inference_site.config import ServerSettings, server_settings
from inference_site.secrets import database_password, load_secrets


def test_defaults_are_loopback_and_embedded() -> None:
    settings = server_settings({})
    assert settings.base_url == "http://127.0.0.1:8000"
    assert settings.embedded


def test_public_url_is_what_clients_write() -> None:
    settings = server_settings({"PAGODA_PUBLIC_URL": "https://llm.example/"})
    assert settings.base_url == "https://llm.example"
    assert settings.listen_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PAGODA_PORT", "70000", "PAGODA_PORT='70000' is outside 1"),
        ("PAGODA_PORT", "http", "is not a whole number"),
        ("PAGODA_PORT", "tcp://10.0.0.7:8000", "enableServiceLinks: false"),
        ("PAGODA_PROT", "8000", "Did you mean PAGODA_PORT?"),
        ("PAGODA_ZZZZ", "1", "Unknown setting PAGODA_ZZZZ"),
        ("PAGODA_DATABASE_URL", "mysql://x/y", "PAGODA_DATABASE_URL must start with postgres"),
        ("PAGODA_REDIS_URL", "localhost:6379", "PAGODA_REDIS_URL must start with redis://"),
        ("PAGODA_PUBLIC_URL", "llm.example", "PAGODA_PUBLIC_URL must start with http://"),
        ("PAGODA_METRICS_NETWORKS", "10.0.0.0/99", "PAGODA_METRICS_NETWORKS"),
        ("PAGODA_TRUSTED_PROXIES", "proxy", "PAGODA_TRUSTED_PROXIES: 'proxy' does not appear"),
        ("PAGODA_LOG_LEVEL", "loud", "is not one of DEBUG"),
        ("PAGODA_SERVER", "gunicorn", "is not one of uvicorn, daphne"),
        ("PAGODA_SHUTDOWN_TIMEOUT", "nan", "PAGODA_SHUTDOWN_TIMEOUT"),
    ],
)
def test_bad_value_is_refused_by_name(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingError, match=words.replace("(", r"\(")):
        server_settings({name: value})


def test_names_of_other_parts_are_known() -> None:
    server_settings({"PAGODA_MAX_BODY": "2048", "PAGODA_QUEUE_WAIT_S": "3"})


def test_embedded_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    settings = ServerSettings(home=tmp_path)
    first = load_secrets(settings)
    assert load_secrets(settings) == first
    assert first.secret_key != first.pepper.decode()
    for name in ("django", "pepper"):
        assert stat.S_IMODE((tmp_path / "secrets" / name).stat().st_mode) == 0o600


def test_production_secrets_are_never_made(tmp_path: Path) -> None:
    settings = ServerSettings(home=tmp_path, database_url="postgresql://db/pagoda")
    with pytest.raises(SettingError, match="does not exist"):
        load_secrets(settings)
    assert not (tmp_path / "secrets").exists()


def test_short_secret_is_refused(tmp_path: Path) -> None:
    settings = ServerSettings(home=tmp_path, key_pepper="short")
    with pytest.raises(SettingError, match="PAGODA_KEY_PEPPER has 5 characters"):
        load_secrets(settings)


def test_secrets_do_not_show_themselves(tmp_path: Path) -> None:
    secrets = load_secrets(ServerSettings(home=tmp_path))
    assert secrets.secret_key not in repr(secrets)


def test_the_databases_password_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    given = server_settings({"PAGODA_DATABASE_PASSWORD_FILE": str(file)})
    assert database_password(given) == "s3cret"
    assert database_password(server_settings({})) is None


def test_a_password_file_that_is_away_is_named(tmp_path: Path) -> None:
    away = server_settings({"PAGODA_DATABASE_PASSWORD_FILE": str(tmp_path / "none")})
    with pytest.raises(SettingError, match=r"PAGODA_DATABASE_PASSWORD_FILE=.*No such file"):
        database_password(away)
