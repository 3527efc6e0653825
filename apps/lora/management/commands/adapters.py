"""`pagoda adapters …`: add, load and unload adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.api.services import Actor
from apps.lora import selectors, services
from apps.lora.config import lora_settings
from apps.lora.sources import source_from
from apps.models.models import Desired
from apps.models.services import catalog_publish
from engine.errors import PagodaError

ACTOR = Actor("command line")
LATER = "not usable yet; it goes on in the background (see: pagoda adapters list)"


class Command(BaseCommand):
    """Thin: every verb calls one service. The worker checks, the agent loads."""

    help = "Add, load, unload, list, pin, roll back and remove LoRA adapters."

    requires_system_checks = []  # `check` is for people; this is typed often

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        add = verbs.add_parser("add", help="a new adapter, or a new version of one")
        add.add_argument("name")
        add.add_argument("source", help="folder with the adapter's two files, or a hub id")
        add.add_argument("--base", help="base model; needed where several are loaded")
        add.add_argument("--no-load", action="store_true", help="only check and keep it")
        add.add_argument("--pin", action="store_true", help="keep it in the engines' memory")
        verbs.add_parser("list", help="all adapters with their versions and places")
        for verb, words in (
            ("load", "answer requests for it; returns when it is usable"),
            ("unload", "its name answers 404 from now on, running requests finish"),
            ("pin", "keep it in the engines' memory"),
            ("unpin", "let it make room for others"),
            ("remove", "forget an unloaded adapter"),
        ):
            verbs.add_parser(verb, help=words).add_argument("name")
        back = verbs.add_parser("rollback", help="let the name stand for another version")
        back.add_argument("name")
        back.add_argument("version", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['verb']}")(options)
        except PagodaError as error:
            raise CommandError(error.message) from None

    def _add(self, options: dict[str, Any]) -> None:
        version = services.version_add(
            name=options["name"],
            source=source_from(_absolute(options["source"]), anywhere=True),
            base=options["base"],
            load=not options["no_load"],
            pinned=options["pin"],
            actor=ACTOR,
        )
        within_s = lora_settings().adapter_wait_s
        done = selectors.version_await(version.pk, name=options["name"], within_s=within_s)
        self._tell(done, "added")

    def _load(self, options: dict[str, Any]) -> None:
        services.adapter_load(name=options["name"], actor=ACTOR)
        self._wait(options["name"], "loaded")

    def _unload(self, options: dict[str, Any]) -> None:
        services.adapter_unload(name=options["name"], actor=ACTOR)
        self.stdout.write("unloaded")

    def _pin(self, options: dict[str, Any]) -> None:
        services.adapter_pin(name=options["name"], pinned=True, actor=ACTOR)
        self.stdout.write("pinned")

    def _unpin(self, options: dict[str, Any]) -> None:
        services.adapter_pin(name=options["name"], pinned=False, actor=ACTOR)
        self.stdout.write("unpinned")

    def _remove(self, options: dict[str, Any]) -> None:
        services.adapter_delete(name=options["name"], actor=ACTOR)
        self.stdout.write("removed")

    def _rollback(self, options: dict[str, Any]) -> None:
        name, number = options["name"], options["version"]
        adapter = services.adapter_roll_back(name=name, number=number, actor=ACTOR)
        if adapter.desired == Desired.LOADED:
            self._wait(name, f"version {number} is in use")
        else:
            self.stdout.write(f"version {number} will be loaded next")

    def _list(self, options: dict[str, Any]) -> None:
        placements = selectors.placements_read()
        for adapter in selectors.adapters_listed():
            state, base = selectors.adapter_state(adapter), adapter.base.name
            pin = ", pinned" if adapter.pinned else ""
            self.stdout.write(f"{adapter.name}  {state}  on {base}{pin}")
            for version in adapter.versions.all():
                place = selectors.residency(placements.get(version.digest, ())) or "no engine"
                mark = "*" if version.pk == adapter.current_id else " "
                facts = f"rank {version.rank}, {version.size_bytes} bytes, in {place}"
                self.stdout.write(f"  {mark} version {version.number}  {version.state}  {facts}")
                for line in filter(None, [version.cause, *version.problems, version.fix]):
                    self.stdout.write(f"      {line}")

    def _wait(self, name: str, word: str) -> None:
        self._tell(selectors.load_await(name, within_s=lora_settings().adapter_wait_s), word)

    def _tell(self, done: bool, word: str) -> None:
        catalog_publish()
        self.stdout.write(word if done else LATER)


def _absolute(source: str) -> str:
    """A folder as the worker finds it, whatever the shell's folder is."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.is_dir() else source
