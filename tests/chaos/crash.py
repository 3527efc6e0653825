"""Runs one of our processes and kills it at a named point:

    python -m tests.chaos.crash POINT NTH -m engine.testing …
    python -m tests.chaos.crash POINT NTH manage.py settle

SIGKILL comes at the NTH time the point is passed. The function at a point is wrapped here, before
the process starts: the code that ships knows nothing of it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import os
import runpy
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Seen = Callable[[tuple[Any, ...], Any], bool]  # the call's arguments, and its result once it ran


def always(args: tuple[Any, ...], result: Any) -> bool:
    return True


def has_entries(args: tuple[Any, ...], result: Any) -> bool:
    return bool(args[-1])


def returned(args: tuple[Any, ...], result: Any) -> bool:
    return bool(result)


def has_ends(args: tuple[Any, ...], result: Any) -> bool:
    return bool(args[1].ends)


def has_first_frame(args: tuple[Any, ...], result: Any) -> bool:
    return any(delta.seq == 0 for deltas in args[1].frames.values() for delta in deltas)


def has_frames_only(args: tuple[Any, ...], result: Any) -> bool:
    return bool(args[1].frames) and not args[1].ends


def is_abort(args: tuple[Any, ...], result: Any) -> bool:
    return bool(args[1].rid)


def admits(args: tuple[Any, ...], result: Any) -> bool:
    return any(call.script.name == "admit" for call in args[1])


def of_hours(args: tuple[Any, ...], result: Any) -> bool:
    return bool(args[1] == "hour" and args[2])


def of_days(args: tuple[Any, ...], result: Any) -> bool:
    return bool(args[1] == "day" and args[2])


@dataclass(frozen=True, slots=True)
class Point:
    """`where` is module:function; `up_to` the largest NTH that still comes soon."""

    role: Literal["settler", "engine", "web", "rebuild", "revoke"]
    where: str
    when: Literal["before", "after"]
    seen: Seen = always
    up_to: int = 4


SETTLER, JUDGE = "apps.usage.settler:Settler.", "apps.usage.judge:Judge."
STORE, REBUILD = "apps.usage.store:", "apps.usage.services:"
ENGINE, READER = "engine.transport:Transport.", "engine.queue_reader:QueueReader."
CLIENT, STREAM = "engine.client:EngineClient.", "engine.request_stream:RequestStream."
WRITER = "apps.api.writer:ResponseWriter."
POINTS = {
    "settler: events read": Point("settler", SETTLER + "_settle", "before", has_entries),
    "settler: rows inserted": Point("settler", STORE + "_insert_new", "after"),
    "settler: hours added": Point("settler", STORE + "sums_add", "after", of_hours),
    "settler: days added": Point("settler", STORE + "sums_add", "after", of_days),
    "settler: before commit": Point("settler", STORE + "_note_names", "after"),
    "settler: after commit": Point("settler", SETTLER + "_acknowledge", "before"),
    # A settler that died just before has left events for this one.
    "settler: events taken over": Point("settler", SETTLER + "_take_over", "after", returned, 1),
    "settler: acknowledged": Point("settler", SETTLER + "_acknowledge", "after"),
    "judge: told of a death": Point("settler", JUDGE + "_await_news", "after", returned, 1),
    "judge: before an entry": Point("settler", "engine.judgement:_judge_entry", "before"),
    "judge: after an entry": Point("settler", "engine.judgement:_judge_entry", "after"),
    "judge: looked": Point("settler", JUDGE + "look", "after"),
    "reconciler: begins": Point(
        "settler", "apps.usage.reconcile:Reconciler.run", "before", up_to=1
    ),
    "reconciler: done": Point("settler", "apps.usage.reconcile:Reconciler.run", "after", up_to=1),
    "engine: entries delivered": Point("engine", READER + "_take", "before", has_entries),
    "engine: entries taken": Point("engine", READER + "_take", "after", has_entries),
    "engine: in the inbox": Point("engine", "engine.step_loop:StepLoop.submit", "after"),
    "engine: before the first frame": Point("engine", ENGINE + "_send", "before", has_first_frame),
    "engine: after the first frame": Point("engine", ENGINE + "_send", "after", has_first_frame),
    "engine: between frames": Point("engine", ENGINE + "_send", "after", has_frames_only, 100),
    "engine: before the checkpoint": Point("engine", ENGINE + "_checkpoint", "before"),
    "engine: after the beat": Point("engine", ENGINE + "_beat", "after"),
    "engine: before the terminal": Point("engine", ENGINE + "_send", "before", has_ends),
    "engine: after the terminal": Point("engine", ENGINE + "_send", "after", has_ends),
    "engine: told to abort": Point("engine", READER + "_act", "before", is_abort),
    "engine: aborted": Point("engine", READER + "_act", "after", is_abort),
    "web: before admission": Point("web", CLIENT + "_admit", "before", up_to=100),
    "web: reply of admission unread": Point(
        "web", "engine.script_queue:run_all_async", "after", admits, 50
    ),
    "web: admitted": Point("web", CLIENT + "_admit", "after", up_to=100),
    "web: started": Point("web", STREAM + "started", "after", up_to=100),
    "web: before the headers": Point("web", WRITER + "_start", "before", up_to=100),
    "web: after the headers": Point("web", WRITER + "_start", "after", up_to=100),
    "web: between chunks": Point("web", WRITER + "_piece", "after", up_to=500),
    "web: before the last chunk": Point("web", WRITER + "finish", "before", up_to=30),
    "web: before a cancel": Point("web", STREAM + "abort", "before"),
    "web: after a cancel": Point("web", STREAM + "abort", "after"),
    "web: told that an engine died": Point("web", STREAM + "_lost", "before", up_to=2),
    "web: queued again": Point("web", STREAM + "_requeued", "before", up_to=2),
    "web: gave up": Point("web", STREAM + "_give_up", "after", up_to=2),
    "web: after the beat": Point("web", CLIENT + "_beat_once", "after"),
    "rebuild: sums deleted": Point("rebuild", REBUILD + "sums_add", "before", of_hours, 1),
    "rebuild: hours summed": Point("rebuild", REBUILD + "sums_add", "after", of_hours, 1),
    "rebuild: days summed": Point("rebuild", REBUILD + "sums_add", "after", of_days, 1),
    "revoke: committed": Point("revoke", "apps.api.services:epochs_publish", "before", up_to=1),
    "revoke: published": Point("revoke", "apps.api.services:epochs_publish", "after", up_to=1),
}


def arm(name: str, nth: int) -> None:
    """Wrap the point's function in this process."""
    point = POINTS[name]
    module, _, path = point.where.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, last = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, last, armed(getattr(owner, last), point, nth))


def armed(function: Callable[..., Any], point: Point, nth: int) -> Callable[..., Any]:
    """`function`, whose NTH pass of the point is the last thing this process does."""
    passed = itertools.count(1)

    def pass_by(args: tuple[Any, ...], result: Any = None) -> None:
        if point.seen(args, result) and next(passed) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if point.when == "before":
            pass_by(args)
        result = function(*args, **kwargs)
        if point.when == "after":
            pass_by(args, result)
        return result

    @functools.wraps(function)
    async def call_async(*args: Any, **kwargs: Any) -> Any:
        if point.when == "before":
            pass_by(args)
        result = await function(*args, **kwargs)
        if point.when == "after":
            pass_by(args, result)
        return result

    return call_async if inspect.iscoroutinefunction(function) else call


def main(name: str, nth: int, program: list[str]) -> None:
    if POINTS[name].role != "engine":
        import django

        django.setup()
    arm(name, nth)
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
