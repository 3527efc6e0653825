"""How every DRF view of this project authenticates, reads JSON and reports errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, ClassVar, TypeVar

from pydantic import ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.api.auth import HasScope, KeyAuthentication
from apps.api.body import parse_object
from apps.api.config import api_caps
from apps.api.errors import drf_handler, from_pydantic
from apps.api.openapi import ViewSchema
from apps.api.schemas import Schema
from apps.api.selectors import KeySnapshot
from apps.api.services import Actor
from engine.errors import BodyTooLarge

S = TypeVar("S", bound=Schema)


class StrictJsonParser(BaseParser):
    """The same JSON rules as the generation routes."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None
    ) -> dict[str, Any]:
        cap = api_caps().max_body
        data = stream.read(cap + 1)
        if len(data) > cap:
            raise BodyTooLarge(f"The body is larger than {cap} bytes.")
        return parse_object(data)


class KeyView(APIView):
    """A view for holders of an API key with `scope`."""

    scope: ClassVar[str]
    authentication_classes = [KeyAuthentication]
    permission_classes = [HasScope]
    parser_classes = [StrictJsonParser]
    renderer_classes = [JSONRenderer]
    throttle_classes = []
    schema = ViewSchema()

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response]:
        return drf_handler

    @property
    def key(self) -> KeySnapshot:
        key = self.request.auth
        assert isinstance(key, KeySnapshot)
        return key

    @property
    def actor(self) -> Actor:
        return Actor(f"key:{self.key.public_id}", self.request.META.get("REMOTE_ADDR") or None)


def parsed(kind: type[S], request: Request) -> S:
    """The body as a schema; null means absent. Raises `InvalidRequest`."""
    data = request.data if isinstance(request.data, dict) else {}
    given = {name: value for name, value in data.items() if value is not None}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise from_pydantic(error, frozenset(kind.model_fields)) from None
