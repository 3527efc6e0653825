"""Errors on the wire: described by class name, rebuilt from the one tree."""

from __future__ import annotations

from engine import errors
from engine.errors import EngineStartError, InternalError, PagodaError
from engine.messages import ErrorInfo


def describe(error: PagodaError) -> ErrorInfo:
    return ErrorInfo(type(error).__name__, error.message, error.param, error.retry_after_s)


def rebuild(info: ErrorInfo | None) -> PagodaError:
    """The error that was described; a name we do not know is an internal error."""
    if info is None:
        return InternalError("The engine refused the request without a reason.")
    kind = getattr(errors, info.kind, None)
    if (
        not isinstance(kind, type)
        or not issubclass(kind, PagodaError)
        or kind is EngineStartError  # has a form of its own and never ends a request
    ):
        return InternalError(info.message)
    return kind(info.message, param=info.param, retry_after_s=info.retry_after_s)
