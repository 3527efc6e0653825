"""Types that the bodies of all routes are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from apps.api.caps import MAX_INT, MAX_STRING_CHARS

Int = Annotated[int, Field(ge=-MAX_INT, le=MAX_INT)]
Float = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=MAX_STRING_CHARS)]


class Schema(BaseModel):
    """Strict types (no bool for a number, no "5" for 5); unknown fields are only reported."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


def checked_text(value: str) -> str:
    """The text itself. For validators that check by hand."""
    if len(value) > MAX_STRING_CHARS:
        raise ValueError(f"must have at most {MAX_STRING_CHARS} characters")
    return value
