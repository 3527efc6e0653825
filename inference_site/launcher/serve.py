"""`serve`: starts everything, restarts what dies, stops it in order. No Django, no torch here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from socket import socket

from engine.settings import SettingError, env_name
from inference_site.config import ServerSettings, server_settings
from inference_site.cors import CorsRules
from inference_site.launcher.children import Child, Children, ChildSpec, module
from inference_site.launcher.embedded_redis import EmbeddedRedis, check_answers, embedded_redis
from inference_site.launcher.listener import listen, listen_unix
from inference_site.launcher.lock import HomeLock
from inference_site.launcher.options import ServeOptions, parse_serve
from inference_site.launcher.signals import StopSignals
from inference_site.launcher.startup import Startup
from inference_site.launcher.stop import stop_all
from inference_site.paths import DEMO_MODEL
from inference_site.process import environment, spawn
from inference_site.redis import find_redis
from inference_site.secrets import load_secrets


class StartRefused(Exception):
    """A child could not prepare the start and has said why on stderr."""


class StopAsked(Exception):
    """Ctrl-C came before everything was started."""


def serve(argv: Sequence[str]) -> int:
    """Run until a signal. Exit status: 0 stopped, 1 the model cannot be served, 2 bad input."""
    try:
        options = parse_serve(argv)
        settings = _settings(options)
        for note in options.notes:
            say(note)
        return _run(options, settings)
    except SettingError as error:
        say(str(error))
        return 2
    except StartRefused:
        return 2


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _settings(options: ServeOptions) -> ServerSettings:
    """Settings with the flags on top; also makes home and secrets, before any child starts."""
    os.environ.update(options.environment)
    home = Path(os.environ.get(env_name("home")) or ".pagoda").expanduser().resolve()
    os.environ[env_name("home")] = str(home)  # children may run in another folder
    settings = server_settings()
    CorsRules.of(settings)
    for path in (settings.ssl_certfile, settings.ssl_keyfile):
        if path is not None and not os.access(path, os.R_OK):
            raise SettingError(f"{path} cannot be read: check --ssl-certfile and --ssl-keyfile.")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"PAGODA_HOME={home} cannot be made: {error.strerror}.") from None
    load_secrets(settings)
    return settings


def _run(options: ServeOptions, settings: ServerSettings) -> int:
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        if not options.only_web:
            stack.callback(HomeLock(settings.home).release)
        listener = _listen(settings, stack)
        embedded = _redis(options, settings)
        if embedded is not None:
            stack.callback(embedded.remove)
            os.environ[env_name("redis_url")] = embedded.url
        metrics = _fresh_folder(settings.home / f"metrics-{settings.port}")
        env = environment(PYTHONUNBUFFERED="1", PROMETHEUS_MULTIPROC_DIR=str(metrics))
        children = Children(env, say)
        try:
            if embedded is not None:
                _start_redis(children, embedded)
            model = ""
            if not options.only_web:
                model = _start_agent(children, signals, options, settings)
            _start_web(children, settings, listener)
            if not options.only_web:
                children.add(ChildSpec(name="settler", argv=module("inference_site", "settle")))
            url = find_redis(server_settings())
            startup = Startup(settings, url, model, options.only_web, say, began)
            _supervise(children, signals, startup, jobs=not options.only_web)
            return 1 if startup.refused else 0
        except StopAsked:
            return 0
        finally:
            if signals.stop_asked:
                say("Stopping: running answers finish first. Press Ctrl-C again to stop at once.")
            stop_all(children, listener, settings, signals)


def _listen(settings: ServerSettings, stack: contextlib.ExitStack) -> socket:
    if settings.uds is None:
        listener = listen(settings.host, settings.port, at_once=not settings.lame_duck)
    else:
        listener = listen_unix(settings.uds)
        stack.callback(settings.uds.absolute().unlink, missing_ok=True)
    stack.callback(listener.close)
    return listener


def _fresh_folder(path: Path) -> Path:
    """Counters start at zero with the server, as Prometheus expects of a restart."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    return path


def _redis(options: ServeOptions, settings: ServerSettings) -> EmbeddedRedis | None:
    if settings.redis_url:
        check_answers(settings.redis_url)
        return None
    if options.only_web:
        os.environ[env_name("redis_url")] = find_redis(settings)
        return None
    return embedded_redis(settings.home)


def _start_redis(children: Children, server: EmbeddedRedis) -> None:
    # SIGTERM: when the launcher is killed it still writes its last second to disk.
    argv = tuple(server.argv())
    children.add(ChildSpec(name="redis", argv=argv, death_signal=signal.SIGTERM))
    server.wait_until_ready()


def _start_agent(
    children: Children, signals: StopSignals, options: ServeOptions, settings: ServerSettings
) -> str:
    """The agent brings the database up to date and starts the engine, which takes longest, from
    the same process. Returns the model's name. Raises `StartRefused`, `StopAsked`."""
    words = _prepare_words(options, settings)
    read_end, write_end = os.pipe()
    argv = module("inference_site", "agent")
    try:
        agent = children.add(
            ChildSpec(
                name="agent",
                argv=(*argv, f"--tell-fd={write_end}", "--prepare", *words),
                pass_fds=(write_end,),
            )
        )
    finally:
        os.close(write_end)
    agent.spec = ChildSpec(name="agent", argv=argv)  # a restart has nothing to prepare
    with os.fdopen(read_end) as told:
        while not signals.wait(None, also=read_end):
            if signals.stop_asked:
                raise StopAsked
        line = told.readline()
    if not line:  # it says why on stderr and ends
        _let_end(agent)
        raise StartRefused
    return str(json.loads(line)["model"])


def _let_end(child: Child) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        if child.process is not None:
            child.process.wait(timeout=5)


def _prepare_words(options: ServeOptions, settings: ServerSettings) -> list[str]:
    """Arguments of `manage.py prepare`."""
    words = [f"--revision={options.revision}", f"--options={json.dumps(options.engine_options)}"]
    words += [f"--name={name}" for name in options.served_names]
    words.append(f"--replicas={options.replicas}")
    words.append(f"--lora-modules={json.dumps(options.lora_modules)}")
    if options.model is not None:
        return [*words, f"--model={options.model}"]
    return [*words, f"--default-model={_default_model(settings)}"]


def _default_model(settings: ServerSettings) -> Path:
    """The bundled model; without one, a small one with random weights made on the first run."""
    if (DEMO_MODEL / "config.json").is_file():
        return DEMO_MODEL
    folder = settings.home / "models" / "pagoda-random"
    if not (folder / "config.json").is_file():
        say(f"No demo model is bundled: writing a small random one to {folder}.")
        argv = module("inference_site.launcher.random_model", str(folder))
        if spawn(argv, env=environment()).wait() != 0:
            raise StartRefused
    return folder


def _start_web(children: Children, settings: ServerSettings, listener: socket) -> None:
    fd = listener.fileno()
    for number in range(settings.web_processes):
        argv = module(
            "inference_site.web",
            f"--fd={fd}",
            f"--server={settings.server}",
            f"--drain-s={settings.shutdown_timeout}",
            *([f"--certificate={settings.ssl_certfile}"] if settings.ssl_certfile else []),
            *([f"--private-key={settings.ssl_keyfile}"] if settings.ssl_keyfile else []),
        )
        children.add(ChildSpec(name=f"web {number}", argv=argv, pass_fds=(fd,)))


def _supervise(children: Children, signals: StopSignals, startup: Startup, *, jobs: bool) -> None:
    """Blocks between events: idle costs nothing. Ends on a signal or a start that failed.

    `jobs`: once the first request can be answered, start the background worker too.
    """
    while not signals.stop_asked:
        due_s = children.restart_ended()
        if startup.running:
            startup.look()
            if startup.refused:
                return
            if jobs and not startup.running:
                children.add(ChildSpec(name="worker", argv=module("inference_site.worker")))
            due_s = min(startup.POLL_S, due_s if due_s is not None else startup.POLL_S)
        signals.wait(due_s)
