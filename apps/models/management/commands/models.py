"""`pagoda models …`: register, load and unload models."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.api.services import Actor
from apps.models import services
from apps.models.models import ServedModel
from apps.models.selectors import model_state
from apps.models.sources import SourceMissing, download
from engine.errors import PagodaError

ACTOR = Actor("command line")
BY_NAME = {
    "load": services.model_load,
    "unload": services.model_unload,
    "restart": services.model_restart,
    "delete": services.model_delete,
}


class Command(BaseCommand):
    """Thin: every verb calls one service. The agent does the work."""

    help = "Register, list, load, unload, restart, download and delete models."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        register = verbs.add_parser("register", help="add a model and load it")
        register.add_argument("name")
        register.add_argument("source", help="folder of a checkpoint, or hub id")
        register.add_argument("--alias", action="append", default=[])
        register.add_argument("--replicas", type=int, default=1)
        help_text = "engine option, e.g. max_model_len=4096 (repeatable)"
        register.add_argument("--option", action="append", default=[], help=help_text)
        verbs.add_parser("list", help="all models with desired and actual state")
        fetch = verbs.add_parser("download", help="fetch a hub checkpoint into the cache")
        fetch.add_argument("source")
        fetch.add_argument("--revision", default="")
        for verb, service in BY_NAME.items():
            line = (service.__doc__ or "").strip().splitlines()[0]
            verbs.add_parser(verb, help=line).add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        verb = options["verb"]
        try:
            if verb in BY_NAME:
                BY_NAME[verb](name=options["name"], actor=ACTOR)
                self.stdout.write("done")
            else:
                getattr(self, f"_{verb}")(options)
        except SourceMissing as error:
            raise CommandError(str(error)) from None
        except PagodaError as error:
            raise CommandError(error.message) from None

    def _register(self, options: dict[str, Any]) -> None:
        services.model_register(
            name=options["name"],
            source=options["source"],
            aliases=options["alias"],
            replicas=options["replicas"],
            engine_options=dict(_option(text) for text in options["option"]),
            actor=ACTOR,
        )
        self.stdout.write("registered")

    def _list(self, options: dict[str, Any]) -> None:
        for model in ServedModel.objects.prefetch_related("instances"):
            state = model_state(model)
            self.stdout.write(f"{model.name}  wanted {model.desired}, is {state}  {model.source}")
            for engine in model.instances.all():
                if engine.cause:
                    self.stdout.write(f"    {engine.cause} {engine.fix}")

    def _download(self, options: dict[str, Any]) -> None:
        self.stdout.write(download(options["source"], options["revision"]))


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--option {text!r} must have the form name=value.")
    return name.replace("-", "_"), value
