"""`manage.py prepare`: what `serve` needs in the database before its processes start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from apps.api.services import Actor
from apps.lora.prepare import LoraModule, demo_register, modules_register
from apps.models.bootstrap import api_key_import, bootstrap_ensure
from apps.models.models import ServedModel
from apps.models.services import model_register, model_serve_only, source_resolved
from apps.models.sources import SourceMissing, download, local_folder
from engine.errors import PagodaError
from inference_site.paths import DEMO_MODEL

ACTOR = Actor("serve")
BUNDLED = "bundled"


class Command(BaseCommand):
    """Idempotent: a second run changes nothing and costs a few queries."""

    help = "Bring the database to what serve needs: tables, first key and login, the model."

    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--model", default="", help="folder or hub id")
        parser.add_argument(
            "--default-model", default="", help="folder, or `bundled`, if nothing else is served"
        )
        parser.add_argument("--name", action="append", default=[], help="served names")
        parser.add_argument("--revision", default="")
        parser.add_argument("--replicas", type=int, default=1)
        parser.add_argument("--options", default="{}", help="engine options as JSON")
        parser.add_argument("--lora-modules", default="[]", help="adapters as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Writes one JSON line to stdout: the name of the model this serve is about."""
        try:
            self._migrate()
            name = self._model(options)
            modules = msgspec.json.decode(options["lora_modules"], type=list[LoraModule])
            modules_register(modules=modules, model=name, actor=ACTOR)
            if settings.PAGODA.embedded:
                bootstrap_ensure(settings.PAGODA)
            elif settings.PAGODA.api_key:
                api_key_import(settings.PAGODA.api_key)
        except OperationalError as error:
            raise CommandError(
                f"The database does not answer: {error}. Check PAGODA_DATABASE_URL and its server."
            ) from None
        except SourceMissing as error:
            raise CommandError(str(error)) from None
        except PagodaError as error:
            raise CommandError(error.message) from None
        self.stdout.write(json.dumps({"model": name}))

    def _migrate(self) -> None:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if not plan:
            return
        if not settings.PAGODA.embedded:
            raise CommandError(
                f"The database lacks {len(plan)} migrations. Back it up, then run: pagoda migrate"
            )
        call_command("migrate", interactive=False, verbosity=0)

    def _model(self, options: dict[str, Any]) -> str:
        source = options["model"]
        if not source:
            if ServedModel.objects.filter(from_serve=False).exists():
                return ""
            source = options["default_model"]
        if not source:
            return ""
        source = source_resolved(str(DEMO_MODEL) if source == BUNDLED else source)
        if not Path(source).is_absolute():  # a hub id
            try:
                local_folder(source, options["revision"])
            except SourceMissing:
                self.stderr.write(f"Downloading {source} …")
                download(source, options["revision"])
        names = options["name"] or [_name_of(source)]
        model = model_register(
            name=names[0],
            aliases=names[1:],
            source=source,
            revision=options["revision"],
            replicas=options["replicas"],
            engine_options=json.loads(options["options"]),
            actor=ACTOR,
        )
        model_serve_only(name=model.name, actor=ACTOR)
        demo_register(model=model.name, source=source, actor=ACTOR)
        return model.name


def _name_of(source: str) -> str:
    """A folder's own name; a hub id as it is."""
    path = Path(source).expanduser()
    return path.resolve().name if path.is_dir() else source
