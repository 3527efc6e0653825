"""What a `serve` command line asks for: settings of the server and options of the engine."""

from __future__ import annotations

import argparse
import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from engine.config import EngineConfig
from engine.errors import EngineStartError
from engine.foreign_options import our_value
from engine.sampling_defaults import override_values
from engine.settings import env_name, parse
from inference_site.launcher.flags import (
    ENGINE_FLAGS,
    FOREIGN,
    RENAMED,
    SETTING_FACTS,
    SETTING_FLAGS,
    SETTING_KINDS,
    BadFlags,
    Parser,
    build_parser,
    dashed,
    switches,
)

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_LEVELS = {"TRACE": "DEBUG", "CRITICAL": "ERROR"}  # of uvicorn → ours


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What the command line asked for."""

    model: str | None = None
    served_names: tuple[str, ...] = ()
    revision: str = ""
    replicas: int = 1
    engine_options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)  # names set by flags
    lora_modules: tuple[dict[str, str], ...] = ()  # name, path, base_model_name
    only_web: bool = False
    notes: tuple[str, ...] = ()  # one line per flag that has no effect or another name today


def parse_serve(argv: Sequence[str]) -> ServeOptions:
    """Raises `SettingError` naming the flag and what would be right. Exits 0 on --help."""
    parser = build_parser()
    given = _parse(parser, argv)
    if (config := given.pop("config", None)) is not None:
        given = {**_parse(parser, _from_yaml(Path(config))), **given}
        given.pop("config", None)
    model = given.get("model_flag") or given.get("model")
    return ServeOptions(
        model=model,
        served_names=tuple(given.get("served_model_name", ())),
        revision=given.get("revision", ""),
        replicas=_replicas(given.get("data_parallel_size", 1)),
        engine_options=_engine_options(given),
        environment=_environment(given),
        lora_modules=tuple(_lora_module(text) for text in given.get("lora_modules", ())),
        only_web=given.get("only") == "web",
        notes=tuple(_notes(given)),
    )


def _parse(parser: Parser, words: Sequence[str]) -> dict[str, Any]:
    on_off = switches(parser)
    given, rest = parser.parse_known_args([_plain(word, on_off) for word in words])
    for word in rest:
        if word.startswith("-"):
            raise BadFlags(_unknown(word.partition("=")[0], parser))
    if rest:
        raise BadFlags(f"One model is served at a time: {rest[0]!r} is too much.")
    return vars(given)


def _plain(word: str, on_off: set[str]) -> str:
    """`--max_model_len=8k` → `--max-model-len=8k`, `--enforce-eager=false` → `--no-enforce-eager`;
    values stay as they are."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    name = name.replace("_", "-")
    if name in on_off and value.lower() in _TRUE + _FALSE:
        return name if value.lower() in _TRUE else f"--no-{name[2:]}"
    return name + equals + value


def _unknown(flag: str, parser: argparse.ArgumentParser) -> str:
    known = [text for action in parser._actions for text in action.option_strings]
    near = difflib.get_close_matches(flag, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"There is no flag {flag}.{hint} See: pagoda serve --help"


def _environment(given: Mapping[str, Any]) -> dict[str, str]:
    """Settings the flags override, checked under the name that was typed."""
    found: dict[str, str] = {}
    for name, setting in SETTING_FLAGS.items():
        if name not in given:
            continue
        text = _text(given[name])
        if setting == "log_level":
            text = _LEVELS.get(text.upper(), text.upper())
        parse(dashed(name), text, SETTING_KINDS[setting], SETTING_FACTS[setting].metadata)
        found[env_name(setting)] = text
    if "download_dir" in given:
        found["HF_HUB_CACHE"] = os.path.expanduser(given["download_dir"])
    return found


def _engine_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options that differ from "decide yourself". The engine would refuse bad ones too, seconds
    later and less near to the person who typed."""
    options = {f.name: our_value(f.name, given[f.name]) for f in ENGINE_FLAGS if f.name in given}
    if "max_model_len" in options:
        options["max_model_len"] = _length(str(options["max_model_len"]))
    options = {name: value for name, value in options.items() if value is not None}
    try:
        EngineConfig.from_texts({name: _text(value) for name, value in options.items()})
        override_values(options.get("override_generation_config"))
    except EngineStartError as error:
        raise BadFlags(str(error)) from None
    return options


def _notes(given: Mapping[str, Any]) -> list[str]:
    """Raises `BadFlags` for a value of another server's flag that we cannot honour."""
    notes = [f"{dashed(o)} is {dashed(n)} today." for o, n in RENAMED.items() if o in given]
    notes = [note.replace("--model-flag is --model", "--model X is MODEL") for note in notes]
    for name, foreign in FOREIGN.items():
        if name not in given:
            continue
        value = given[name]
        if not foreign.allows(value):
            raise BadFlags(f"{dashed(name)}={_text(value)} is not possible: {foreign.why}.")
        notes.append(f"{dashed(name)} has no effect: {foreign.why}.")
    return notes


def _from_yaml(path: Path) -> list[str]:
    """Keys as flags, so that file and command line have one set of rules."""
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
        flag = dashed(str(name))
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif value is None:
            continue
        elif isinstance(value, list):
            words += [flag, *map(_text, value)]
        else:
            words.append(f"{flag}={_text(value)}")
    return words


def _text(value: Any) -> str:
    """A value as a flag's text: true, 4096, auto, {"a": 1}."""
    if isinstance(value, Mapping):
        return json.dumps(value)
    return value if isinstance(value, str) else str(value).lower()


def _length(text: str) -> str | None:
    """`auto` → as the model says; `8k` → 8192; digits stay."""
    if text == "auto":
        return None
    if text[:-1].isdigit() and text[-1] in "kK":
        return str(int(text[:-1]) * 1024)
    return text


def _lora_module(text: str) -> dict[str, str]:
    """`name=folder`, or a JSON object. A folder becomes absolute; a hub id stays."""
    if text.startswith("{"):
        try:
            module = json.loads(text)
        except ValueError as error:
            raise BadFlags(f"--lora-modules {text} is not JSON: {error}.") from None
    else:
        name, _, path = text.partition("=")
        module = {"name": name, "path": path}
    module = {key: value for key, value in module.items() if value is not None}
    if unknown := set(module) - {"name", "path", "base_model_name"}:
        raise BadFlags(f"--lora-modules {text}: there is no field {min(unknown)!r}.")
    texts = all(isinstance(value, str) and value for value in module.values())
    if not texts or not {"name", "path"} <= module.keys():
        raise BadFlags(f"--lora-modules {text!r}: use name=folder, or JSON with name and path.")
    folder = Path(module["path"]).expanduser()
    return {**module, "path": str(folder.resolve()) if folder.is_dir() else module["path"]}


def _replicas(count: int) -> int:
    if not 1 <= count <= 64:
        raise BadFlags(f"--data-parallel-size={count} is outside 1 … 64.")
    return count
