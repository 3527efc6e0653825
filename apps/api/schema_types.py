"""Types that the bodies of all routes are made of."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field

from apps.api.caps import MAX_INT, MAX_STRING_CHARS

Int = Annotated[int, Field(ge=-MAX_INT, le=MAX_INT)]
Float = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=MAX_STRING_CHARS)]


class Schema(BaseModel):
    """Strict types (no bool for a number, no "5" for 5); unknown fields are only reported."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


@cache
def names_of(kind: type[Schema]) -> frozenset[str]:
    """The fields of a schema as JSON spells them."""
    return frozenset(field.alias or name for name, field in kind.model_fields.items())


@cache
def nested(kind: type[Schema]) -> dict[str, type[Schema]]:
    """Fields that hold a schema or a list of schemas."""
    found = {f.alias or name: _schema_in(f.annotation) for name, f in kind.model_fields.items()}
    return {name: schema for name, schema in found.items() if schema is not None}


def _schema_in(annotation: Any) -> type[Schema] | None:
    if isinstance(annotation, type) and issubclass(annotation, Schema):
        return annotation
    inside = map(_schema_in, get_args(annotation))
    return next((schema for schema in inside if schema is not None), None)


def checked_text(value: str) -> str:
    """The text itself. For validators that check by hand."""
    if len(value) > MAX_STRING_CHARS:
        raise ValueError(f"must have at most {MAX_STRING_CHARS} characters")
    return value
