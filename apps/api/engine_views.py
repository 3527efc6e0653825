"""Routes of vLLM about the engines themselves: load, sleep, prefix cache."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.drf import KeyView
from apps.models import engine_control
from engine.errors import InvalidRequest, Overloaded

SLEEP_LEVELS = (None, "1")


class Load(KeyView):
    """GET /load: how many requests are open, of all models."""

    scope = "inference"

    def get(self, request: Request) -> Response:
        return Response({"server_load": engine_control.open_requests()})


class Sleep(KeyView):
    """POST /sleep: running requests end first; those that come wait for /wake_up."""

    scope = "admin"

    def post(self, request: Request) -> Response:
        if request.query_params.get("level") not in SLEEP_LEVELS:
            raise InvalidRequest(
                "'level' must be 1: the KV cache's memory. To give weights back as well, unload "
                "the model.",
                param="level",
            )
        return _empty(engine_control.engines_sleep(actor=self.actor))


class WakeUp(KeyView):
    """POST /wake_up."""

    scope = "admin"

    def post(self, request: Request) -> Response:
        return _empty(engine_control.engines_wake(actor=self.actor))


class IsSleeping(KeyView):
    """GET /is_sleeping: whether all engines sleep."""

    scope = "admin"

    def get(self, request: Request) -> Response:
        return Response({"is_sleeping": engine_control.engines_asleep()})


class ResetPrefixCache(KeyView):
    """POST /reset_prefix_cache."""

    scope = "admin"

    def post(self, request: Request) -> Response:
        engine_control.prefixes_forget(actor=self.actor)
        return _empty(True)


def _empty(done: bool) -> Response:
    """An empty object. Raises `Overloaded` when it is not done yet."""
    if not done:
        raise Overloaded(
            "Engines still compute; what was asked happens when they have finished.",
            param="engines",
            retry_after_s=5,
        )
    return Response({})
