"""One engine process: load, announce, step, drain. Real models and the fake one run in it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError

from engine import redis_keys
from engine.config import EngineConfig
from engine.core_contract import Core
from engine.errors import EngineStartError
from engine.logs import event_log, log_to_stderr
from engine.machine import machine_settings
from engine.messages import EngineState
from engine.redis_link import connect
from engine.step_loop import StepLoop
from engine.transport import Transport

log = event_log(__name__)
OnProgress = Callable[[str, int, int], None]  # phase, bytes done, bytes in all
SWITCH_INTERVAL_S = 0.0005  # the I/O threads must not wait 5 ms for the step loop
DRAIN_S = 120.0
LAST_ENDS_S = 2.0  # aborted requests need one more step


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonArgs:
    engine_id: str
    model_name: str
    redis_url: str
    drain_s: float = DRAIN_S


def parser(prog: str) -> argparse.ArgumentParser:
    """Flags every engine process takes: its own, and each field of `EngineConfig`."""
    flags = argparse.ArgumentParser(prog=prog, allow_abbrev=False)
    flags.add_argument("--engine-id", required=True, help="unique for this process")
    flags.add_argument("--model-name", required=True, help="served name; also names the queue")
    flags.add_argument("--redis", required=True, help="redis:// or unix:// URL")
    flags.add_argument("--drain-s", type=float, default=DRAIN_S, help="SIGTERM waits this long")
    for option in dataclasses.fields(EngineConfig):
        flags.add_argument(
            f"--{option.name.replace('_', '-')}", nargs="?", const="true",
            help=f"{option.metadata['help']} (default: {option.default})".replace("%", "%%"),
        )  # fmt: skip
    return flags


def config_texts(parsed: argparse.Namespace) -> dict[str, str]:
    """The engine options that were given, as texts for `EngineConfig.from_texts`."""
    names = (option.name for option in dataclasses.fields(EngineConfig))
    return {name: getattr(parsed, name) for name in names if getattr(parsed, name) is not None}


def daemon_args(parsed: argparse.Namespace) -> DaemonArgs:
    return DaemonArgs(
        engine_id=parsed.engine_id,
        model_name=parsed.model_name,
        redis_url=parsed.redis,
        drain_s=parsed.drain_s,
    )


def serve(args: DaemonArgs, build: Callable[[OnProgress], Core]) -> int:
    """Run until SIGTERM. Returns the exit code; a failed start is told in the heartbeat."""
    transport = Transport(args.engine_id, args.model_name, args.redis_url)
    stopper = _Stopper(transport, args.drain_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopper.on_signal)
    threading.excepthook = _end_process
    transport.start()
    try:
        core = load(transport, build)
    except EngineStartError as error:
        print(f"The engine did not start: {error}", file=sys.stderr)  # noqa: T201
        transport.fail(error.cause, error.fix)
        transport.stop()
        return 1
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # weights and modules are for ever: later collections need not look at them
    loop = StepLoop(core, args.engine_id)
    stopper.watch(loop)
    transport.attach(loop)
    try:
        loop.run(transport.deliver)
    except Exception as error:
        log.exception("step_loop_broken")
        transport.fail(f"The step loop failed: {type(error).__name__}.", "See the engine's log.")
        return 1
    finally:
        transport.stop()
        _say_goodbye(args)
    return 0


def _end_process(broken: threading.ExceptHookArgs) -> None:
    """Without one of its threads an engine looks alive and answers nobody: the judge takes over."""
    log.error("thread_broken", cause=repr(broken.exc_value), exc_info=broken.exc_value)
    os._exit(1)


def load(transport: Transport, build: Callable[[OnProgress], Core]) -> Core:
    """Build the core; the heartbeats tell how far that is, and then what was built."""
    progress = transport.progress

    def on_progress(phase: str, done: int, total: int) -> None:
        progress.phase, progress.done_bytes, progress.total_bytes = phase, done, total

    progress.state = EngineState.LOADING
    transport.beat_now()
    core = build(on_progress)
    progress.max_model_len, progress.kv_tokens = core.max_model_len, core.kv_tokens
    progress.task = _task(core)
    return core


def _task(core: Core) -> str:
    """What the model is for, as `EngineBeat.task` tells it."""
    if core.card is not None:
        return core.card.task.value
    return "chat" if core.chats else ""


def _say_goodbye(args: DaemonArgs) -> None:
    """Remove the heartbeat and wake the judge, as the agent would for a process that died."""
    client = connect(args.redis_url)
    with contextlib.suppress(RedisError, OSError):
        client.delete(redis_keys.engine_beat(args.engine_id))
        client.rpush(redis_keys.JUDGE_WAKE, args.engine_id)
    client.close()


class _Stopper:
    """First signal: take no more requests, leave when the last has ended. Second signal: now.
    While the model loads there is nothing to finish: the first signal ends the process."""

    def __init__(self, transport: Transport, drain_s: float) -> None:
        self._transport, self._drain_s = transport, drain_s
        self._signals = 0
        self._serving = False
        self._asked = threading.Event()

    def on_signal(self, number: int, frame: object) -> None:
        if not self._serving:
            raise SystemExit(128 + number)
        self._signals += 1
        self._asked.set()

    def watch(self, loop: StepLoop) -> None:
        self._serving = True
        threading.Thread(target=self._wait, args=(loop,), name="stopper", daemon=True).start()

    def _wait(self, loop: StepLoop) -> None:
        self._asked.wait()
        self._transport.drain()
        deadline = time.monotonic() + self._drain_s
        while len(self._transport.live) and self._signals < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        self._transport.cancel_all()
        deadline = time.monotonic() + LAST_ENDS_S
        while len(self._transport.live) and time.monotonic() < deadline:
            time.sleep(0.01)
        loop.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m engine`: a real model."""
    parsed = parser("python -m engine").parse_args(argv)

    def build(on_progress: OnProgress) -> Core:
        config = EngineConfig.from_texts(config_texts(parsed))
        from engine.runner.build import build_core  # torch is loaded while we already beat

        return build_core(config, on_progress)

    log_to_stderr(machine_settings().log_level)
    return serve(daemon_args(parsed), build)


def main_of_fake(argv: Sequence[str] | None = None) -> int:
    """`python -m engine.testing`: the same process with a `FakeCore`."""
    flags = parser("python -m engine.testing")
    flags.add_argument("--step-delay-s", type=float, default=0.0, help="time of one step")
    flags.add_argument("--tokens-per-step", type=int, default=1, help="of each running choice")
    flags.add_argument("--vocab-size", type=int, default=256, help="token ids are below this")
    flags.add_argument("--load-s", type=float, default=0.0, help="how long loading takes")
    parsed = flags.parse_args(argv)

    def build(on_progress: OnProgress) -> Core:
        from engine.testing import FakeCore, FakeSpeed

        config = EngineConfig.from_texts(config_texts(parsed))
        on_progress("weights", 0, 1)
        time.sleep(parsed.load_s)
        return FakeCore(
            FakeSpeed(
                step_delay_s=parsed.step_delay_s,
                tokens_per_step=parsed.tokens_per_step,
                max_num_seqs=config.max_num_seqs,
                vocab_size=parsed.vocab_size,
                max_model_len=config.max_model_len or FakeSpeed().max_model_len,
            )
        )

    log_to_stderr(machine_settings().log_level)
    return serve(daemon_args(parsed), build)
