"""Fields that several routes share and that are checked by hand."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainValidator

from apps.api.schema_types import checked_text

ToolChoice = str | dict[str, Any]
Scalar = str | int | float | bool | None
Prompt = str | list[str] | list[int] | list[list[int]]
PROMPT_FORMS = "must be a string, a list of strings, a list of token ids or a list of such lists"


def _prompt(value: Any) -> Prompt:
    """Check by hand: a union would collect an error per element and member."""
    if isinstance(value, str):
        return checked_text(value)
    if not isinstance(value, list) or not value:
        raise ValueError(f"{PROMPT_FORMS}, not empty")
    if all(type(item) is int for item in value):
        return value
    if all(type(item) is str for item in value):
        return [checked_text(item) for item in value]
    if all(type(item) is list and all(type(t) is int for t in item) for item in value):
        return value
    raise ValueError(PROMPT_FORMS)


def _stop(value: Any) -> list[str]:
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, list) or not all(isinstance(s, str) for s in strings):
        raise ValueError("must be a string or a list of strings")
    return strings


def _logit_bias(value: Any) -> dict[int, float]:
    if not isinstance(value, dict):
        raise ValueError("must be an object of token id to bias")
    biases: dict[int, float] = {}
    for key, bias in value.items():
        if not (key.isascii() and key.isdigit() and len(key) <= 10):
            raise ValueError("keys must be token ids")
        if type(bias) not in (int, float):
            raise ValueError("biases must be numbers from -100 to 100")
        biases[int(key)] = float(bias)
    return biases


def _choice(value: Any) -> ToolChoice:
    if isinstance(value, str) and value in ("none", "auto", "required"):
        return value
    function = value.get("function") if isinstance(value, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(value, dict) or value.get("type") != "function" or not isinstance(name, str):
        raise ValueError(
            "must be 'none', 'auto', 'required' or {type: 'function', function: {name}}"
        )
    return {"type": "function", "function": {"name": name}}


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(type(v) is str for v in value.values()):
        raise ValueError("must be an object whose values are strings")
    return value


def _scalars(value: Any) -> dict[str, Scalar]:
    kinds = (str, int, float, bool, type(None))
    if not isinstance(value, dict) or not all(type(v) in kinds for v in value.values()):
        raise ValueError("must be an object whose values are strings, numbers, booleans or null")
    return value


TextsField = Annotated[
    dict[str, str], PlainValidator(_texts, json_schema_input_type=dict[str, str])
]
ScalarsField = Annotated[
    dict[str, Scalar], PlainValidator(_scalars, json_schema_input_type=dict[str, Scalar])
]
ChoiceField = Annotated[
    ToolChoice, PlainValidator(_choice, json_schema_input_type=str | dict[str, Any])
]
PromptField = Annotated[Prompt, PlainValidator(_prompt, json_schema_input_type=Prompt)]
StopField = Annotated[list[str], PlainValidator(_stop, json_schema_input_type=str | list[str])]
BiasField = Annotated[
    dict[int, float], PlainValidator(_logit_bias, json_schema_input_type=dict[str, float])
]
