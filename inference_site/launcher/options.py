"""Flags of `serve`: those of the server become settings, those of the engine become options."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from engine.config import EngineConfig
from engine.settings import SettingError, env_name, parse
from inference_site.config import ServerSettings

# Flags of the server and the setting each one overrides.
SERVER_FLAGS = (
    "host",
    "port",
    "public_url",
    "api_key",
    "server",
    "api_server_count",
    "shutdown_timeout",
    "log_level",
)
_FACTS = {f.name: f for f in dataclasses.fields(ServerSettings)}
_ENGINE_FLAGS = [f for f in dataclasses.fields(EngineConfig) if f.name not in ("model", "revision")]


class BadFlags(SettingError):
    """A flag is unknown or has a value it cannot have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What the command line asked for."""

    model: str | None = None
    served_names: tuple[str, ...] = ()
    revision: str = ""
    engine_options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)  # PAGODA_ names set by flags
    only_web: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise BadFlags(f"{message[0].upper()}{message[1:]}. See: pagoda serve --help")


def parse_serve(argv: Sequence[str]) -> ServeOptions:
    """Raises `SettingError` naming the flag and what would be right. Exits 0 on --help."""
    parser = _build_parser()
    given = vars(parser.parse_args([_dashed(word) for word in argv]))
    if (config := given.pop("config", None)) is not None:
        lines = _from_yaml(Path(config))
        given = {**vars(parser.parse_args(lines)), **given}
        given.pop("config", None)
    model = given.get("model_flag") or given.get("model")
    environment = {env_name(n): given[n] for n in SERVER_FLAGS if n in given}
    for name in SERVER_FLAGS:
        if name in given:
            _check(f"--{name.replace('_', '-')}", given[name], name)
    options = {f.name: given[f.name] for f in _ENGINE_FLAGS if f.name in given}
    if "max_model_len" in options:
        options["max_model_len"] = _length(str(options["max_model_len"]))
    return ServeOptions(
        model=model,
        served_names=tuple(given.get("served_model_name", ())),
        revision=given.get("revision", ""),
        engine_options={k: v for k, v in options.items() if v is not None},
        environment=environment,
        only_web=given.get("only") == "web",
    )


def _build_parser() -> argparse.ArgumentParser:
    """Nothing has a default here: what was not given stays with the environment."""
    parser = _Parser(
        prog="pagoda serve",
        description="Serve a model: Redis, web, engine, agent and settler under one command.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "model", nargs="?", help="folder or hub id of a checkpoint; default: the demo"
    )
    parser.add_argument("--model", dest="model_flag", help=argparse.SUPPRESS)
    parser.add_argument("--config", help="YAML file of these flags; the command line wins")
    parser.add_argument("--only", choices=("web",), help="only the web processes")
    names = "names clients may use; the first is the model's own"
    parser.add_argument("--served-model-name", nargs="+", help=names)
    parser.add_argument("--revision", help="revision of a hub checkpoint")
    server = parser.add_argument_group("server (also as PAGODA_ environment names)")
    for name in SERVER_FLAGS:
        facts = _FACTS[name].metadata
        server.add_argument(
            f"--{name.replace('_', '-')}", help=facts["help"], choices=facts["choices"]
        )
    engine = parser.add_argument_group("engine")
    for option in _ENGINE_FLAGS:
        flag, facts = f"--{option.name.replace('_', '-')}", option.metadata
        if str(option.type) == "bool":
            action = argparse.BooleanOptionalAction
            engine.add_argument(flag, action=action, help=facts["help"])
        else:
            engine.add_argument(flag, help=facts["help"], choices=facts["choices"])
    return parser


def _dashed(word: str) -> str:
    """`--max_model_len=8k` → `--max-model-len=8k`; values stay as they are."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _from_yaml(path: Path) -> list[str]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFlags(f"--config {path}: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise BadFlags(f"--config {path} is not YAML: {error}.") from None
    if not isinstance(loaded, Mapping):
        raise BadFlags(f"--config {path} must hold a mapping of flag names to values.")
    words: list[str] = []
    for name, value in loaded.items():
        flag = f"--{str(name).replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, list):
            words += [flag, *map(str, value)]
        else:
            words += [flag, str(value)]
    return words


def _length(text: str) -> str | None:
    """`auto` → as the model says; `8k` → 8192; digits stay."""
    if text == "auto":
        return None
    if text[:-1].isdigit() and text[-1] in "kK":
        return str(int(text[:-1]) * 1024)
    return text


def _check(flag: str, text: str, name: str) -> None:
    kind = {"port": int, "api_server_count": int, "shutdown_timeout": int}.get(name, str)
    parse(flag, text, kind, _FACTS[name].metadata)
