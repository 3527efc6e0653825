"""How every DRF view of this project authenticates, reads JSON and reports errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import IO, Any, ClassVar, TypeVar

from pydantic import ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.api.auth import HasScope, KeyAuthentication
from apps.api.body import parse_object
from apps.api.errors import drf_handler, from_pydantic
from apps.api.openapi import ViewSchema
from apps.api.parse import shown_names
from apps.api.schema_types import Schema
from apps.api.selectors import KeySnapshot
from apps.api.services import Actor

S = TypeVar("S", bound=Schema)


class StrictJsonParser(BaseParser):
    """The same JSON rules as the generation routes."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None
    ) -> dict[str, Any]:
        return parse_object(stream.read())  # the dispatcher has bounded it


class JsonAlways(DefaultContentNegotiation):
    """Answers are JSON, whatever `Accept` or `?format=` ask for: clients send odd ones."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)


class KeyView(APIView):
    """A view for holders of an API key with `scope`."""

    scope: ClassVar[str]
    authentication_classes = [KeyAuthentication]
    permission_classes = [HasScope]
    parser_classes = [StrictJsonParser]
    renderer_classes = [JSONRenderer]
    content_negotiation_class = JsonAlways
    throttle_classes = []
    schema = ViewSchema()

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response]:
        return drf_handler

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        """Names of fields that nobody knows stand in the header, as on the generation routes."""
        found: Response = super().finalize_response(request, response, *args, **kwargs)
        if ignored := getattr(self.request, "ignored_names", None):
            found["X-Pagoda-Ignored"] = ", ".join(ignored)
        return found

    @property
    def key(self) -> KeySnapshot:
        key = self.request.auth
        assert isinstance(key, KeySnapshot)
        return key

    @property
    def actor(self) -> Actor:
        return Actor(f"key:{self.key.public_id}", self.request.META.get("REMOTE_ADDR") or None)


def tell_ignored(request: Request, names: Iterable[str]) -> None:
    """More names of fields and parameters without effect, for the answer's header."""
    told = [*getattr(request, "ignored_names", ()), *shown_names(names)]
    setattr(request, "ignored_names", told)  # noqa: B010 - DRF's Request takes any attribute


def parsed(kind: type[S], request: Request) -> S:
    """The body as a schema; null means absent. Raises `InvalidRequest`."""
    data = request.data if isinstance(request.data, dict) else {}
    given = {name: value for name, value in data.items() if value is not None}
    tell_ignored(request, (name for name in data if name not in kind.model_fields))
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise from_pydantic(error, frozenset(kind.model_fields)) from None
