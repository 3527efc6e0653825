"""The one renderer of errors. Nothing else writes `{"error": {…}}`.

Consumers, DRF views and the site's handlers of unknown routes all end here, so that a client sees
one shape, whatever part refused it.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from typing import Any

import orjson
from django.core.exceptions import DisallowedHost
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from pydantic import ValidationError
from rest_framework import exceptions as drf
from rest_framework.response import Response

from engine.errors import (
    InternalError,
    InvalidApiKey,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PagodaError,
    PermissionDenied,
)

log = logging.getLogger(__name__)

# litellm tells an authentication error from other refusals by the first four words
BAD_KEY = "Incorrect API key provided, or none. Send it as 'Authorization: Bearer pgd_…'."
Headers = list[tuple[bytes, bytes]]
_SUBJECT = re.compile("^(Input|String|List|Dictionary|Value) should")


def body_of(error: PagodaError) -> dict[str, Any]:
    """The wire form of an error."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


def json_of(error: PagodaError) -> bytes:
    return orjson.dumps(body_of(error))


def headers_of(error: PagodaError) -> Headers:
    """Headers that belong to an error: `Retry-After` in whole seconds, `WWW-Authenticate`,
    `Allow`."""
    headers: Headers = []
    if error.status in (429, 503):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s or 1))))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    return headers


def public_error(error: BaseException, rid: str) -> PagodaError:
    """What a client may know of any failure. Unknown ones are logged and become a 500."""
    if isinstance(error, PagodaError):
        return error
    log.error("request_failed", extra={"rid": rid}, exc_info=error)
    return InternalError(f"The server failed to answer this request. Quote its id: {rid}.")


def invalid_key() -> InvalidApiKey:
    return InvalidApiKey(BAD_KEY)


def unknown_route(path: str) -> NotFound:
    shown = path if path.isascii() and path.isprintable() and len(path) <= 200 else "this path"
    return NotFound(f"There is no route {shown}. See /docs for all routes.")


def wrong_method(method: str, allowed: Sequence[str]) -> MethodNotAllowed:
    error = MethodNotAllowed(f"This route takes {', '.join(allowed)}, not {method}.")
    error.allowed = tuple(allowed)
    return error


def from_pydantic(error: ValidationError, fields: frozenset[str]) -> InvalidRequest:
    """The first problem of a body, in words, with the path of the field as `param`."""
    found = _deepest(error)
    param = field_path(found[0]["loc"], fields)
    if found[0]["type"] == "missing":
        return InvalidRequest(f"'{param}' is required.", param=param)
    # a union complains once for each of its types
    words = [_in_words(e) for e in found if field_path(e["loc"], fields) == param]
    first, *others = dict.fromkeys(words)
    message = " or ".join([first, *(other.removeprefix("must be ") for other in others)])
    return InvalidRequest(f"'{param}': {message}.", param=param)


def field_path(loc: tuple[int | str, ...], fields: frozenset[str]) -> str:
    """`("messages", 0, "list[Part]", "content")` → `messages[0].content`; union tags drop out."""
    path = ""
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step in fields:
            path += f".{step}" if path else step
    return path or "body"


def _deepest(error: ValidationError) -> list[Any]:
    """Of the first field's complaints those that came furthest: in a union they help most."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    of_first = [e for e in found if e["loc"][:1] == found[0]["loc"][:1]]
    depth = max(len(e["loc"]) for e in of_first)
    return [e for e in of_first if len(e["loc"]) == depth]


def _in_words(complaint: Any) -> str:
    if complaint["type"] in ("dict_type", "model_type", "model_attributes_type"):
        return "must be an object"  # not the name of a class of ours
    message = str(complaint["msg"]).removeprefix("Value error, ")
    return _SUBJECT.sub("must", message).partition(" after validation")[0]


def from_drf(error: Exception) -> PagodaError | None:
    """Translate what DRF and Django raise; None for an error that is our own bug."""
    match error:
        case PagodaError():
            return error
        case Http404() | drf.NotFound():
            return NotFound("No such object.")
        case drf.AuthenticationFailed() | drf.NotAuthenticated():
            return invalid_key()
        case DjangoPermissionDenied() | drf.PermissionDenied():
            return PermissionDenied("This API key may not do that.")
        case drf.UnsupportedMediaType():
            return InvalidRequest("The body must be JSON with 'Content-Type: application/json'.")
        case drf.ParseError():
            return InvalidRequest("The body is not valid JSON.")
        case drf.ValidationError():
            return _from_serializer(error.detail)
        case drf.APIException() if error.status_code < 500:
            return InvalidRequest("The request could not be understood.")
    return None


def _from_serializer(detail: Any) -> InvalidRequest:
    param: str | None = None
    while isinstance(detail, dict | list):
        if isinstance(detail, dict):
            name, detail = next(iter(detail.items()))
            param = name if name != "non_field_errors" else param
        else:
            detail = detail[0]
    return InvalidRequest(f"'{param}': {detail}" if param else str(detail), param=param)


def drf_handler(error: Exception, context: dict[str, Any]) -> Response:
    """`REST_FRAMEWORK["EXCEPTION_HANDLER"]`."""
    request, view = context["request"], context["view"]
    if isinstance(error, drf.MethodNotAllowed):
        error = wrong_method(request.method, view.allowed_methods)
    known = from_drf(error) or public_error(error, rid_of(request._request))
    response = Response(body_of(known), status=known.status)
    for name, value in headers_of(known):
        response[name.decode().title()] = value.decode()
    return response


def django_response(error: PagodaError) -> HttpResponse:
    response = HttpResponse(json_of(error), status=error.status, content_type="application/json")
    for name, value in headers_of(error):
        response[name.decode().title()] = value.decode()
    return response


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/admin"):
        return defaults.bad_request(request, exception)
    if isinstance(exception, DisallowedHost):
        return django_response(
            InvalidRequest(
                "This host name is not served here. Set PAGODA_PUBLIC_URL to the URL clients use."
            )
        )
    return django_response(InvalidRequest("The request could not be understood."))


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/admin"):
        return defaults.permission_denied(request, exception)
    return django_response(PermissionDenied("This API key may not do that."))


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/admin"):
        return defaults.page_not_found(request, exception)  # a page for people
    return django_response(unknown_route(request.path))


def handler500(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/admin"):
        return defaults.server_error(request)
    rid = rid_of(request)
    return django_response(
        InternalError(f"The server failed to answer this request. Quote its id: {rid}.")
    )


def rid_of(request: Any) -> str:
    """The request id the dispatcher put into the scope; empty under a WSGI test client."""
    scope: dict[str, Any] = getattr(request, "scope", {})
    return str(scope.get("pagoda_rid", ""))
