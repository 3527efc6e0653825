"""The one tree of errors a client can see. Class fields are the wire contract (docs/api.md).

`str(error)` is the public message: what was wrong and what would be right, never internals.
"""

from __future__ import annotations

from typing import ClassVar


class PagodaError(Exception):
    """Base of all errors that may reach a client. Unknown failures become `InternalError`."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class InternalError(PagodaError):
    """Our own bug; the message names only the request id."""


class InvalidRequest(PagodaError):
    """A field is missing, of the wrong type, out of range or over a cap."""

    status, type = 400, "invalid_request_error"


class ContextTooLong(InvalidRequest):
    """The prompt (plus what was asked for) cannot fit the model's context or its KV cache."""

    code = "context_length_exceeded"


class BodyTooLarge(InvalidRequest):
    """The body passed the byte cap; reading stopped there."""

    status = 413


class InvalidApiKey(PagodaError):
    """No key, or one that is wrong, expired or revoked. One message for all of them."""

    status, type, code = 401, "invalid_request_error", "invalid_api_key"


class PermissionDenied(PagodaError):
    """The key is good but lacks the scope this route needs."""

    status, type = 403, "permission_error"


class NotFound(PagodaError):
    """The route or object does not exist (or this key may not know that it does)."""

    status, type = 404, "invalid_request_error"


class ModelNotFound(NotFound):
    """Unknown model name, or one this key may not use."""

    code = "model_not_found"


class MethodNotAllowed(PagodaError):
    """The route exists, the HTTP method does not; `allowed` are those that do."""

    allowed: tuple[str, ...] = ()
    status, type = 405, "invalid_request_error"


class RateLimited(PagodaError):
    """A limit of the key or its owner; `param` names the limit, `retry_after_s` says when."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"


class QuotaExceeded(PagodaError):
    """A budget is spent."""

    status, type, code = 429, "insufficient_quota", "insufficient_quota"


class Overloaded(PagodaError):
    """We cannot take or finish the request now; `param` is the reason, `retry_after_s` the hint."""

    status, type = 503, "service_unavailable_error"


class EngineLost(Overloaded):
    """The engine died after tokens had left; what the client has is incomplete."""

    code = "engine_lost"


class EngineStartError(PagodaError):
    """The engine cannot start with these settings or this checkpoint: cause and fix, in words."""

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(f"{cause} {fix}")
        self.cause = cause
        self.fix = fix
