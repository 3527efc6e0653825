"""What the translations of other APIs into a chat share: reading parts, building messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from apps.api.errors import from_pydantic
from apps.api.schema_types import Schema
from engine.errors import InvalidRequest

S = TypeVar("S", bound=Schema)


def validated(kind: type[S], raw: dict[str, Any], nested: Iterable[type[Schema]] = ()) -> S:
    """The body as a schema; null means absent. Raises `InvalidRequest`."""
    try:
        return kind.model_validate({k: v for k, v in raw.items() if v is not None})
    except ValidationError as error:
        schemas: list[type[Schema]] = [kind, *nested]
        names = frozenset(name for schema in schemas for name in schema.model_fields)
        raise from_pydantic(error, names) from None


def renamed(error: InvalidRequest, names: dict[str, str], parts: dict[str, str]) -> InvalidRequest:
    """The refusal of a chat in the words of the API that was called.

    `names`: a whole field of the chat → ours; `parts`: a part of a path → ours.
    """
    param = error.param or ""
    chat_name = param.split(".")[0].split("[")[0]
    ours = own_parts(names.get(chat_name, param), parts)
    message = error.message.replace(f"'{param}'", f"'{ours}'")
    longest = "max_completion_tokens"  # stands in the words about another field, too
    return type(error)(message.replace(longest, names[longest]), param=ours or None)


def own_parts(path: str, parts: dict[str, str]) -> str:
    for part, own in parts.items():
        path = path.replace(part, own)
    return path


def texts(item: dict[str, Any], path: str, *names: str) -> list[str]:
    """Required texts of an item. Raises `InvalidRequest` naming the first that is missing."""
    for name in names:
        if not isinstance(item.get(name), str):
            raise InvalidRequest(f"'{path}.{name}' must be a text.", param=f"{path}.{name}")
    return [item[name] for name in names]


def joined(value: Any, path: str, kinds: tuple[str, ...]) -> str:
    """A text, or the texts of parts of these kinds, as one."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise InvalidRequest(f"'{path}' must be a text or a list of parts.", param=path)
    out = []
    for index, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text", part.get("refusal")) if kind in kinds else None
        if not isinstance(text, str):
            raise InvalidRequest(
                f"'{path}[{index}]' is not a part that this model can read; parts of type "
                f"{', '.join(kinds)} with their text are accepted.",
                param=f"{path}[{index}]",
            )
        out.append(text)
    return "".join(out)


class Talk:
    """Messages of a chat; what the assistant thought, said and called is one message."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def say(self, role: str, text: str) -> None:
        if role == "assistant":
            turn = self._turn(with_calls=False)
            turn["content"] = (turn["content"] or "") + text
        else:
            self.messages.append({"role": role, "content": text})

    def add(self, role: str, text: str) -> None:
        """More text of the same message, unless another came between."""
        last = self.messages[-1] if self.messages else {}
        if role != "assistant" and last.get("role") == role:
            last["content"] += text
        else:
            self.say(role, text)

    def think(self, text: str) -> None:
        turn = self._turn(with_calls=False)
        turn["reasoning"] = turn.get("reasoning", "") + text

    def call(self, call_id: Any, name: str, arguments: str) -> None:
        call: dict[str, Any] = {
            "type": "function", "function": {"name": name, "arguments": arguments},
        }  # fmt: skip
        if call_id is not None:
            call["id"] = call_id
        self._turn(with_calls=True).setdefault("tool_calls", []).append(call)

    def result(self, call_id: str, text: str) -> None:
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": text})

    def _turn(self, *, with_calls: bool) -> dict[str, Any]:
        """The assistant's message under way. What follows a call is a message of its own."""
        last = self.messages[-1] if self.messages else {}
        if last.get("role") == "assistant" and (with_calls or "tool_calls" not in last):
            return last
        turn: dict[str, Any] = {"role": "assistant", "content": None}
        self.messages.append(turn)
        return turn
