"""Tools that a chat request offers, and their bounds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, Field

from apps.api.body import deeper_than
from apps.api.parsers import is_name
from apps.api.schema_types import Schema, Text
from engine.errors import InvalidRequest

SCHEMA_DEPTH = 32


def _name(value: str) -> str:
    if not is_name(value):
        raise ValueError("must be printable and not blank")
    return value


FunctionName = Annotated[str, Field(max_length=256), AfterValidator(_name)]


class Function(Schema):
    """What a tool is called, does and takes. `strict`: arguments must follow the schema."""

    name: FunctionName
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolSpec(Schema):
    """One entry of `tools`. Only functions are tools here."""

    type: Literal["function"]
    function: Function

    def for_template(self) -> dict[str, Any]:
        """The form that chat templates show to the model; unset keys are left out."""
        return self.model_dump(exclude_none=True, exclude={"function": {"strict"}})


def check_tools(tools: list[ToolSpec], max_bytes: int) -> None:
    """Raise `InvalidRequest` for a tool that is too large or refers outside itself."""
    for index, tool in enumerate(tools):
        param = f"tools[{index}].function.parameters"
        if len(orjson.dumps(tool.for_template())) > max_bytes:
            raise InvalidRequest(f"'tools[{index}]' is larger than {max_bytes} bytes.", param=param)
        if tool.function.parameters:
            _check_schema(tool.function.parameters, param)


def _check_schema(schema: dict[str, Any], param: str) -> None:
    if deeper_than(schema, SCHEMA_DEPTH):
        raise InvalidRequest(f"'{param}' is nested deeper than {SCHEMA_DEPTH} levels.", param=param)
    nodes: list[Any] = [schema]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict) and not _refers_inside(node.get("$ref")):
            raise InvalidRequest(f"'{param}' has a '$ref' that is not inside it.", param=param)
        if isinstance(node, dict | list):
            nodes += node.values() if isinstance(node, dict) else node


def _refers_inside(reference: Any) -> bool:
    """A property may be called `$ref` too: only a text refers to something."""
    return not isinstance(reference, str) or reference.startswith("#")
