"""Routes of vLLM about the engines themselves: load, sleep, prefix cache, profiles."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.drf import KeyView, tell_ignored
from apps.models import engine_control
from engine.errors import InvalidRequest, Overloaded

SLEEP_LEVELS = (None, "1")


class EngineView(KeyView):
    """These routes take at most a query parameter; whatever else is sent is named."""

    takes: ClassVar[frozenset[str]] = frozenset()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        given = [*request.query_params, *request.data]
        tell_ignored(request, (name for name in given if name not in self.takes))


class Load(EngineView):
    """GET /load: how many requests are open, of all models."""

    scope = "inference"

    def get(self, request: Request) -> Response:
        return Response({"server_load": engine_control.open_requests()})


class Sleep(EngineView):
    """POST /sleep: running requests end first; those that come wait for /wake_up."""

    scope = "admin"
    takes = frozenset({"level"})

    def post(self, request: Request) -> Response:
        if request.query_params.get("level") not in SLEEP_LEVELS:
            raise InvalidRequest(
                "'level' must be 1: the KV cache's memory. To give weights back as well, unload "
                "the model.",
                param="level",
            )
        return _empty(engine_control.engines_sleep(actor=self.actor))


class WakeUp(EngineView):
    """POST /wake_up."""

    scope = "admin"

    def post(self, request: Request) -> Response:
        return _empty(engine_control.engines_wake(actor=self.actor))


class IsSleeping(EngineView):
    """GET /is_sleeping: whether all engines sleep."""

    scope = "admin"

    def get(self, request: Request) -> Response:
        return Response({"is_sleeping": engine_control.engines_asleep()})


class ResetPrefixCache(EngineView):
    """POST /reset_prefix_cache."""

    scope = "admin"

    def post(self, request: Request) -> Response:
        engine_control.prefixes_forget(actor=self.actor)
        return _empty(True)


class StartProfile(EngineView):
    """POST /start_profile: engines trace what they compute, which slows them."""

    scope = "admin"

    def post(self, request: Request) -> Response:
        return _profiled(engine_control.engines_profile(on=True, actor=self.actor))


class StopProfile(EngineView):
    """POST /stop_profile: engines write their traces into PAGODA_PROFILE_DIR."""

    scope = "admin"

    def post(self, request: Request) -> Response:
        return _profiled(engine_control.engines_profile(on=False, actor=self.actor))


def _profiled(done: bool) -> Response:
    if not done:
        raise Overloaded(
            "An engine has not done it: its log tells why, or its trace is still being written.",
            param="engines",
            retry_after_s=5,
        )
    return Response({})


def _empty(done: bool) -> Response:
    """An empty object. Raises `Overloaded` when it is not done yet."""
    if not done:
        raise Overloaded(
            "Engines still compute; what was asked happens when they have finished.",
            param="engines",
            retry_after_s=5,
        )
    return Response({})
