"""Production settings: hardened, and never changed by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from apps.api.models import ApiKey
from apps.models.bootstrap import password_reset
from engine.errors import NotFound

ROOT = Path(__file__).resolve().parents[3]
PRODUCTION = {
    "PAGODA_DATABASE_URL": "postgresql://pagoda:secret@db.example/pagoda",
    "PAGODA_REDIS_URL": "rediss://redis.example/0",
    "PAGODA_PUBLIC_URL": "https://llm.example",
    "PAGODA_SECRET_KEY": "a-secret-of-at-least-fifty-characters-for-the-test-0123456789",
    "PAGODA_KEY_PEPPER": "another-secret-of-at-least-fifty-characters-for-the-test-012",
}


def test_deploy_check_is_clean(tmp_path: Path) -> None:
    env = {**os.environ, **PRODUCTION, "PAGODA_HOME": str(tmp_path)}
    argv = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_postgresql_compiles_no_query_and_keeps_the_options_of_its_url(tmp_path: Path) -> None:
    url = f"{PRODUCTION['PAGODA_DATABASE_URL']}?options=-c%20statement_timeout%3D5s"
    env = {**os.environ, **PRODUCTION, "PAGODA_DATABASE_URL": url, "PAGODA_HOME": str(tmp_path)}
    code = "from inference_site.settings import DATABASES as d; print(d['default']['OPTIONS'])"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert "'options': '-c statement_timeout=5s -c jit=off'" in done.stdout


@pytest.mark.django_db
def test_missing_migrations_are_refused_in_production(settings: Any, monkeypatch: Any) -> None:
    settings.PAGODA = replace(settings.PAGODA, database_url=PRODUCTION["PAGODA_DATABASE_URL"])
    plan = "django.db.migrations.executor.MigrationExecutor.migration_plan"
    monkeypatch.setattr(plan, lambda self, targets: [("catalog", False)] * 3)
    with pytest.raises(CommandError, match=r"lacks 3 migrations.*pagoda migrate"):
        call_command("prepare")


@pytest.mark.django_db
def test_production_gets_no_login_and_no_key(settings: Any) -> None:
    settings.PAGODA = replace(settings.PAGODA, database_url=PRODUCTION["PAGODA_DATABASE_URL"])
    call_command("prepare", stdout=StringIO())
    assert not User.objects.exists()
    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_bootstrap_is_written_once_and_follows_a_new_password(
    settings: Any, tmp_path: Path
) -> None:
    settings.PAGODA = replace(settings.PAGODA, home=tmp_path, database_url="")
    call_command("prepare", stdout=StringIO())
    first = (tmp_path / "bootstrap.json").read_text()
    call_command("prepare", stdout=StringIO())
    assert (tmp_path / "bootstrap.json").read_text() == first
    password = password_reset(username="admin", home=tmp_path)
    assert User.objects.get().check_password(password)
    assert f'"admin_password": "{password}"' in (tmp_path / "bootstrap.json").read_text()
    assert ApiKey.objects.get().scopes == ["inference", "adapters"]


@pytest.mark.django_db
def test_password_of_an_unknown_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no staff user 'nobody'"):
        password_reset(username="nobody", home=tmp_path)
