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
from inference_site.launcher.children import Children, ChildSpec, module
from inference_site.launcher.embedded_redis import EmbeddedRedis, embedded_redis
from inference_site.launcher.listener import listen
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


def serve(argv: Sequence[str]) -> int:
    """Run until a signal. Exit status: 0 stopped, 1 the model cannot be served, 2 bad input."""
    try:
        options = parse_serve(argv)
        settings = _settings(options)
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
        listener = listen(settings.host, settings.port)
        stack.callback(listener.close)
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
            model = "" if options.only_web else _prepare_beside_agent(children, options, settings)
            _start_web(children, settings, listener)
            if not options.only_web:
                children.add(ChildSpec(name="settler", argv=module("inference_site", "settle")))
            url = find_redis(server_settings())
            startup = Startup(settings, url, model, options.only_web, say, began)
            return _supervise(children, signals, startup)
        finally:
            listener.close()  # no process accepts from here on: clients get a refusal at once
            stop_all(children, settings, signals)


def _fresh_folder(path: Path) -> Path:
    """Counters start at zero with the server, as Prometheus expects of a restart."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    return path


def _redis(options: ServeOptions, settings: ServerSettings) -> EmbeddedRedis | None:
    if settings.redis_url:
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


def _prepare_beside_agent(
    children: Children, options: ServeOptions, settings: ServerSettings
) -> str:
    """The agent loads its modules meanwhile and waits for the end of a pipe, so that the engine,
    which takes longest, starts as soon as its row is there."""
    argv = module("inference_site", "agent")
    wait_end, our_end = os.pipe()
    try:
        waiting = ChildSpec(
            name="agent", argv=(*argv, f"--wait-fd={wait_end}"), pass_fds=(wait_end,)
        )
        agent = children.add(waiting)
        agent.spec = ChildSpec(name="agent", argv=argv)  # a restart has nothing to wait for
        return _prepare(options, settings)
    finally:
        os.close(wait_end)
        os.close(our_end)


def _prepare(options: ServeOptions, settings: ServerSettings) -> str:
    """Tables, first key, the model's row. Returns the model's name. Raises `StartRefused`."""
    argv = module("inference_site", "prepare", f"--revision={options.revision}")
    argv += (f"--options={json.dumps(options.engine_options)}",)
    argv += tuple(f"--name={name}" for name in options.served_names)
    if options.model is not None:
        argv += (f"--model={options.model}",)
    else:
        argv += (f"--default-model={_default_model(settings)}",)
    child = spawn(argv, env=environment(), stdout=subprocess.PIPE)
    output, _ = child.communicate()
    if child.returncode != 0:
        raise StartRefused
    return str(json.loads(output.splitlines()[-1])["model"])


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
        )
        children.add(ChildSpec(name=f"web {number}", argv=argv, pass_fds=(fd,)))


def _supervise(children: Children, signals: StopSignals, startup: Startup) -> int:
    """Blocks between events: idle costs nothing. Ends on a signal or a start that failed."""
    while not signals.stop_asked:
        due_s = children.restart_ended()
        if startup.running:
            if startup.failed():
                return 1
            due_s = min(startup.POLL_S, due_s if due_s is not None else startup.POLL_S)
        signals.wait(due_s)
    say("Stopping: running answers finish first. Press Ctrl-C again to stop at once.")
    return 0
