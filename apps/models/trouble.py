"""What needs a person: each trouble with its cause, its fix and, where there is one, its button.

The home page shows them and the alerts send them, so both always agree. No database, no Redis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from django.utils.timesince import timeuntil

from apps.api.models import ApiKey
from apps.lora.models import VersionState
from apps.models.alert_settings import alert_settings
from apps.models.health import is_serving
from apps.models.models import EngineInstance, ServedModel, State
from apps.models.overview import KEY_EXPIRES_SOON, Overview

QUEUE_WAIT_S = 10.0
BACKLOG_S = 30.0  # the settler writes within a second
BUDGET_WARNS = 80  # percent
ERRORS_FROM = 20  # requests in an hour; of fewer a share says little


class Area(StrEnum):
    """The rows of the home page."""

    ENGINES = "engines"
    MODELS = "models"
    ADAPTERS = "adapters"
    KEYS = "keys"
    WORK = "work"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A button: a view and its arguments; POST unless it only leads to a page."""

    label: str
    view: str
    args: tuple[str | int, ...] = ()
    post: bool = True
    permission: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """`kind` and `subject` together name it: the same trouble later has the same two."""

    kind: str
    area: Area
    subject: str
    cause: str
    fix: str
    tone: Literal["warn", "bad"] = "bad"
    repair: Repair | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.subject}"


def troubles_of(seen: Overview) -> list[Trouble]:
    """All there are, the worst first."""
    found = [
        *_work(seen),
        *_errors(seen),
        *_hosts(seen),
        *_models(seen),
        *_adapters(seen),
        *_keys(seen),
    ]
    return sorted(found, key=lambda trouble: trouble.tone != "bad")


def _work(seen: Overview) -> Iterator[Trouble]:
    if seen.redis_away:
        yield Trouble(
            kind="redis_away",
            area=Area.WORK,
            subject="Redis",
            cause="Redis does not answer: no request can be admitted.",
            fix="Check that it runs and that PAGODA_REDIS_URL is right. Requests then go on.",
        )
        return
    if seen.backlog.oldest_s > BACKLOG_S:
        yield Trouble(
            kind="usage_backlog",
            area=Area.WORK,
            subject="Usage",
            cause=f"{seen.backlog.events} ended requests wait to be written, the oldest for "
            f"{seen.backlog.oldest_s:.0f} s. None is lost.",
            fix="Start the settler (pagoda settle), or look into its log if it runs.",
        )


def _errors(seen: Overview) -> Iterator[Trouble]:
    requests, bad = seen.course.last_hour("requests"), seen.course.last_hour("bad")
    percent = 100 * bad / requests if requests >= ERRORS_FROM else 0.0
    if percent >= alert_settings().alert_error_percent:
        yield Trouble(
            kind="error_rate",
            area=Area.MODELS,
            subject="Requests",
            cause=f"{bad} of {requests} requests failed in the last hour ({percent:.1f} %).",
            fix="The request log says why: filter it by the status error.",
            repair=Repair(
                label="Open the request log",
                view="console:requests",
                post=False,
                permission="usage.view_usagerecord",
            ),
        )


def _hosts(seen: Overview) -> Iterator[Trouble]:
    used = {engine.host_id for engine in seen.engines}
    for host in seen.hosts:
        if host.pk in used and not host.online:
            yield Trouble(
                kind="host_silent",
                area=Area.ENGINES,
                subject=host.name,
                cause=f"The agent of {host.name} is silent since {host.last_seen:%H:%M:%S} UTC: "
                "its engines are neither watched nor restarted.",
                fix="Start it on that host: pagoda agent",
            )


def _models(seen: Overview) -> Iterator[Trouble]:
    for model in seen.models:
        for engine in model.instances.all():
            yield from _engine(seen, model, engine)
        if (waited := seen.waits_s.get(model.name, 0.0)) > QUEUE_WAIT_S and model.wanted:
            yield Trouble(
                kind="queue_wait",
                area=Area.MODELS,
                subject=model.name,
                tone="warn",
                cause=f"A request for {model.name} has waited for an engine for {waited:.0f} s.",
                fix="Add a replica, or lower the limits of the keys that send most.",
                repair=_open_model("Open the model", model),
            )


def _engine(seen: Overview, model: ServedModel, engine: EngineInstance) -> Iterator[Trouble]:
    if engine.state == State.FAILED:
        yield Trouble(
            kind="engine_down",
            area=Area.MODELS,
            subject=model.name,
            cause=engine.cause,
            fix=engine.fix,
            repair=_act("Try again now", "load", model),
        )
    elif engine.state == State.READY and not seen.redis_away:
        beat = seen.beats.get(engine.engine_id)
        if beat is None:
            yield _engine_trouble(model, engine, "It is marked ready but sends no heartbeat.")
        elif not is_serving(beat):
            yield _engine_trouble(
                model, engine, f"Its step loop has not turned for {beat.step_age_ms / 1000:.0f} s."
            )


def _engine_trouble(model: ServedModel, engine: EngineInstance, cause: str) -> Trouble:
    return Trouble(
        kind="engine_down",
        area=Area.ENGINES,
        subject=engine.engine_id,
        cause=cause,
        fix="The agent restarts it; restart the model if that does not help.",
        repair=_act("Restart the model", "restart", model),
    )


def _adapters(seen: Overview) -> Iterator[Trouble]:
    for adapter in seen.adapters:
        version = adapter.target
        if version is not None and version.state == VersionState.FAILED:
            problems = "; ".join(str(problem) for problem in version.problems[:3])
            yield Trouble(
                kind="adapter_failed",
                area=Area.ADAPTERS,
                subject=adapter.name,
                tone="bad" if adapter.current_id is None else "warn",
                cause=version.cause or problems or "Its files were refused.",
                fix=version.fix or "Upload files that fit the base model.",
                repair=Repair(
                    label="Open the adapter",
                    view="admin:lora_adapter_change",
                    args=(adapter.pk,),
                    post=False,
                    permission="lora.view_adapter",
                ),
            )


def _keys(seen: Overview) -> Iterator[Trouble]:
    for key in seen.keys:
        if key.expires_at is not None and key.expires_at < seen.now + KEY_EXPIRES_SOON:
            yield _key_trouble(
                key,
                kind="key_expires",
                cause=f"The key {key.name} of {key.owner} expires in "
                f"{timeuntil(key.expires_at, seen.now)}.",
                fix="Extend it, or rotate it so that its user gets a new one in time.",
            )
        for use in seen.uses.get(key.pk, ()):
            if use.budget and use.percent >= BUDGET_WARNS:
                spent = use.percent >= 100
                yield _key_trouble(
                    key,
                    kind="budget_spent" if spent else "budget_low",
                    cause=f"The key {key.name} of {key.owner} has used {use.percent} % of its "
                    f"{use.budget}.",
                    fix="Its requests are refused now: raise the budget."
                    if spent
                    else "Raise the budget before its requests are refused.",
                    tone="bad" if spent else "warn",
                )


def _key_trouble(
    key: ApiKey, *, kind: str, cause: str, fix: str, tone: Literal["warn", "bad"] = "warn"
) -> Trouble:
    return Trouble(
        kind=kind,
        area=Area.KEYS,
        subject=f"pgd_{key.public_id}",
        cause=cause,
        fix=fix,
        tone=tone,
        repair=Repair(
            label="Edit the key",
            view="admin:api_apikey_change",
            args=(key.pk,),
            post=False,
            permission="api.change_apikey",
        ),
    )


def _act(label: str, verb: str, model: ServedModel) -> Repair:
    return Repair(
        label=label,
        view="admin:catalog_servedmodel_act",
        args=(model.pk, verb),
        permission="catalog.change_servedmodel",
    )


def _open_model(label: str, model: ServedModel) -> Repair:
    return Repair(
        label=label,
        view="admin:catalog_servedmodel_change",
        args=(model.pk,),
        post=False,
        permission="catalog.view_servedmodel",
    )


def troubles_in(area: Area, troubles: Iterable[Trouble]) -> list[Trouble]:
    return [trouble for trouble in troubles if trouble.area == area]
