"""The flags of `serve`: where each one goes, and the parser made of them.

Three kinds: flags that set a setting (also a `PAGODA_` name), flags of the engine (the fields of
`EngineConfig`), and names that users of other servers know (`engine.foreign_options` and `FOREIGN`
here), which are accepted, named as without effect, or refused with a reason.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_type_hints

from apps.api.caps import ApiSettings
from engine import foreign_options
from engine.client import ClientSettings
from engine.config import EngineConfig
from engine.foreign_options import SAME_VALUES, Foreign
from engine.settings import SettingError, env_name
from inference_site.config import ServerSettings

# Flag → the field of the settings that it sets.
SETTING_FLAGS: Mapping[str, str] = {
    "host": "host",
    "port": "port",
    "uds": "uds",
    "public_url": "public_url",
    "api_key": "api_key",
    "ssl_keyfile": "ssl_keyfile",
    "ssl_certfile": "ssl_certfile",
    "allowed_origins": "allowed_origins",
    "allowed_methods": "allowed_methods",
    "allowed_headers": "allowed_headers",
    "disable_fastapi_docs": "disable_docs",
    "server": "server",
    "api_server_count": "api_server_count",
    "shutdown_timeout": "shutdown_timeout",
    "log_level": "log_level",
    "uvicorn_log_level": "log_level",
    "sse_keep_alive_interval": "keep_alive_s",
    "enable_force_include_usage": "force_include_usage",
    "per_request_metrics": "per_request_metrics",
    "max_num_queued_reqs": "queue_entries",
}
RENAMED = {"uvicorn_log_level": "log_level", "model_flag": "model"}  # old → today's name
_ALWAYS = (True, None)
FOREIGN: Mapping[str, Foreign] = {
    **foreign_options.FOREIGN,
    "root_path": Foreign(
        "let the proxy strip the prefix and set --public-url to what clients see", (None, "")
    ),
    "middleware": Foreign("nothing that is given may name Python code", (None,)),
    "tool_parser_plugin": Foreign("plug-ins are packages with an entry point", (None, "")),
    "reasoning_parser_plugin": Foreign("plug-ins are packages with an entry point", (None, "")),
    "response_role": Foreign("answers come from the assistant", ("assistant",)),
    "max_num_queued_tokens": Foreign("PAGODA_QUEUE_BYTES bounds what waits", (None,)),
    "enable_request_id_headers": Foreign("every answer has X-Request-Id", _ALWAYS),
    "enable_prompt_tokens_details": Foreign("usage always has the details", _ALWAYS),
    "enable_server_load_tracking": Foreign("load is always tracked", _ALWAYS),
    "allow_credentials": Foreign("the API uses no cookies", (False,)),
    "disable_frontend_multiprocessing": Foreign("web and engine are processes of their own"),
    "engine_use_ray": Foreign("Ray is not part of this version", (False,)),
    "worker_use_ray": Foreign("Ray is not part of this version", (False,)),
    "data_parallel_backend": Foreign("replicas are processes of the agent", ("mp",)),
}
SWITCHES = frozenset(  # foreign flags that stand without a value
    {
        "trust_remote_code",
        "disable_custom_all_reduce",
        "disable_async_output_proc",
        "multi_step_stream_outputs",
        "use_v2_block_manager",
        "disable_log_stats",
        "disable_log_requests",
        "enable_log_requests",
        "enable_chunked_prefill",
        "async_scheduling",
        "enable_request_id_headers",
        "enable_prompt_tokens_details",
        "enable_server_load_tracking",
        "allow_credentials",
        "disable_frontend_multiprocessing",
        "engine_use_ray",
        "worker_use_ray",
    }
)
SETTINGS = (ServerSettings, ClientSettings, ApiSettings)
SETTING_FACTS = {f.name: f for cls in SETTINGS for f in dataclasses.fields(cls)}
SETTING_KINDS = {name: kind for cls in SETTINGS for name, kind in get_type_hints(cls).items()}
ENGINE_FLAGS = [f for f in dataclasses.fields(EngineConfig) if f.name not in ("model", "revision")]
NAMES = "names clients may use; the first is the model's own"
LORA_MODULES = 'adapters to load: name=folder, or JSON {"name", "path", "base_model_name"}'


class BadFlags(SettingError):
    """A flag is unknown or has a value it cannot have."""


class Parser(argparse.ArgumentParser):
    """Raises `BadFlags` where argparse would print its usage and exit."""

    def error(self, message: str) -> Any:
        raise BadFlags(f"{message[0].upper()}{message[1:]}. See: {self.prog} --help")


def dashed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def build_parser() -> Parser:
    """Nothing has a default here: what was not given stays with the environment."""
    parser = Parser(
        prog="pagoda serve",
        description="Serve a model: Redis, web, engine, agent and settler under one command.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    words = "folder or hub id of a checkpoint; default: the demo"
    parser.add_argument("model", nargs="?", help=words)
    parser.add_argument("--model", dest="model_flag", help="the same as MODEL")
    parser.add_argument("--config", help="YAML file of these flags; the command line wins")
    parser.add_argument("--only", choices=("web",), help="only the web processes")
    parser.add_argument("--served-model-name", nargs="+", help=NAMES)
    parser.add_argument("--revision", help="revision of a hub checkpoint")
    parser.add_argument("--download-dir", help="folder of downloaded checkpoints")
    parser.add_argument("--lora-modules", nargs="+", help=LORA_MODULES)
    parser.add_argument("--data-parallel-size", type=int, help="engines of this model (replicas)")
    _add_settings(parser.add_argument_group("server (also as PAGODA_ environment names)"))
    _add_engine(parser.add_argument_group("engine"))
    _add_foreign(parser.add_argument_group("known from other servers"))
    return parser


def flag_rows() -> Iterator[tuple[str, str]]:
    """Each flag as written, and what it does, for the documentation."""
    for action in build_parser()._actions:
        if action.option_strings and action.dest != "help":
            yield action.option_strings[0], (action.help or "").replace("%%", "%")


def switches(parser: argparse.ArgumentParser) -> set[str]:
    """Flags that stand without a value and have a `--no-` form."""
    return {a.option_strings[0] for a in _boolean_actions(parser._actions)}


def _boolean_actions(
    actions: Iterable[argparse.Action],
) -> Iterator[argparse.BooleanOptionalAction]:
    return (a for a in actions if isinstance(a, argparse.BooleanOptionalAction))


def _add_settings(group: argparse._ArgumentGroup) -> None:
    for name, field in SETTING_FLAGS.items():
        facts, env = SETTING_FACTS[field].metadata, env_name(field)
        words = f"now {dashed(RENAMED[name])}" if name in RENAMED else f"{facts['help']} ({env})"
        _add(group, name, words, switch=SETTING_KINDS[field] is bool)


def _add_engine(group: argparse._ArgumentGroup) -> None:
    for option in ENGINE_FLAGS:
        facts = option.metadata
        choices = facts["choices"]
        if choices:
            choices = (*choices, *SAME_VALUES.get(option.name, ()))
        _add(
            group,
            option.name,
            facts["help"],
            switch=str(option.type).startswith("bool"),
            choices=choices,
        )


def _add_foreign(group: argparse._ArgumentGroup) -> None:
    for name, foreign in FOREIGN.items():
        _add(group, name, foreign_words(foreign), switch=name in SWITCHES)


def foreign_words(foreign: Foreign) -> str:
    """`no effect: …`, or which values are taken and why no other."""
    if foreign.values is None:
        return f"no effect: {foreign.why}"
    taken = [str(value).lower() for value in foreign.values if value not in (None, "", {})]
    return f"only {' or '.join(taken)}: {foreign.why}" if taken else f"refused: {foreign.why}"


def _add(
    group: argparse._ArgumentGroup,
    name: str,
    words: str,
    *,
    switch: bool,
    choices: tuple[str, ...] | None = None,
) -> None:
    words = words.replace("%", "%%")
    if switch:
        group.add_argument(
            dashed(name), dest=name, action=argparse.BooleanOptionalAction, help=words
        )
    else:
        group.add_argument(dashed(name), dest=name, choices=choices, help=words)
