"""The form an answer must have, as it travels with a request. Exactly one kind is set."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from engine.errors import InvalidRequest
from engine.structured import ebnf, json_schema, regex, tags
from engine.structured.refusal import Refusal
from engine.structured.whitespace import FREE, layout_of

KINDS = ("json", "json_object", "regex", "choice", "grammar", "structural_tag")


class StructuredCaps(msgspec.Struct, frozen=True, kw_only=True):
    """Upper bounds; see docs/configuration.md (PAGODA_MAX_…)."""

    schema_bytes: int = 64 * 1024
    regex_chars: int = 4096
    grammar_bytes: int = 64 * 1024
    choices: int = 1000


DEFAULT_CAPS = StructuredCaps()
HARD_CAPS = StructuredCaps(
    schema_bytes=256 * 1024, regex_chars=16 * 1024, grammar_bytes=256 * 1024, choices=1000
)


class StructuredOutputs(
    msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One constraint and its options. JSON is written compactly unless white space is allowed."""

    json: str | dict[str, Any] | bool | None = None  # a JSON schema, or its text
    json_object: bool | None = None  # any JSON object
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None  # GBNF (`root ::= …`) or Lark (`start: …`)
    structural_tag: str | dict[str, Any] | None = None
    disable_any_whitespace: bool | None = None  # false: up to 8 blanks or line ends in a row
    whitespace_pattern: str | None = None
    field: str = ""  # of the request, where the constraint came from; names it in errors
    thought: Thought | None = None

    def __post_init__(self) -> None:
        if (schema := getattr(self.json, "model_json_schema", None)) is not None:
            self.json = schema()  # a pydantic model, as other libraries take it

    @property
    def kind(self) -> str:
        """The kind that is set. Raises `InvalidRequest` unless it is exactly one."""
        found = [name for name in KINDS if getattr(self, name) is not None]
        if len(found) != 1:
            raise self.refused(
                f"needs exactly one of {', '.join(KINDS)}"
                + (f", not {len(found)}: {', '.join(found)}" if found else "")
            )
        return found[0]

    def check(self, caps: StructuredCaps = DEFAULT_CAPS) -> None:
        """Types and sizes: cheap. Raises `InvalidRequest`."""
        kind, value = self.kind, getattr(self, self.kind)
        if kind == "json_object" and value is not True:
            raise self.refused("must be true, or be left out", "json_object")
        if kind in ("regex", "grammar") and not isinstance(value, str):
            raise self.refused("must be text", kind)
        if kind in ("json", "structural_tag"):
            self._check_json(kind, value, caps.schema_bytes)
        if kind == "regex" and self._size(value) and len(value) > caps.regex_chars:
            raise self.refused(f"has {len(value)} characters; at most {caps.regex_chars} fit")
        if kind == "grammar" and self._size(value) > caps.grammar_bytes:
            raise self.refused(f"is larger than {caps.grammar_bytes} bytes")
        if kind == "choice":
            self._check_choice(caps.choices)
        if self.whitespace_pattern is not None or self.disable_any_whitespace is not None:
            self._guard(lambda: layout_of(self.whitespace_pattern, self.disable_any_whitespace))

    def check_form(self) -> None:
        """Everything that can be told without compiling; time grows with the text's length.

        Raises `InvalidRequest`. `check` must have passed.
        """
        match self.kind:
            case "json":
                self._guard(lambda: json_schema.normalised(self.document()))
            case "regex":
                self._guard(lambda: regex.check(self.regex or ""))
            case "grammar" if ebnf.is_ebnf(self.grammar or ""):
                self._guard(lambda: ebnf.check(self.grammar or ""))
            case "structural_tag":
                self._guard(lambda: tags.normalised(self.document()))

    def document(self) -> Any:
        """The schema or tag as an object, parsed when it came as text."""
        value = self.json if self.structural_tag is None else self.structural_tag
        if not isinstance(value, str):
            return value
        try:
            found = json.loads(value, parse_constant=_no_number)
            json.dumps(found, ensure_ascii=False).encode()  # no half of a surrogate pair
            return found
        except (ValueError, RecursionError) as error:
            raise self.refused(f"is no readable JSON: {error}") from None

    @property
    def bars(self) -> bytes:
        """Control characters that no token may hold: the grammar's own strings of bounded length
        would let them through, and JSON has no place for them but blanks between its parts."""
        control = bytes(range(32))
        if self.kind in ("json", "json_object"):
            compact = layout_of(self.whitespace_pattern, self.disable_any_whitespace) != FREE
            return control if compact else control.replace(b"\n", b"")
        if self.kind == "structural_tag" and "Length" in json.dumps(self.structural_tag):
            return control.replace(b"\n", b"")
        return b""

    def digest(self) -> bytes:
        """Equal for constraints that compile to the same grammar."""
        kind = self.kind
        options = [self.disable_any_whitespace, self.whitespace_pattern]
        return sha256(msgspec.json.encode([kind, getattr(self, kind), options])).digest()

    def refused(self, what: str, part: str = "") -> InvalidRequest:
        """The error for this constraint, or a part of it, under the name the caller knows it by."""
        name = self.field or "structured_outputs"
        shown = f"{name}.{part}" if part and name == "structured_outputs" else name
        return InvalidRequest(f"'{shown}' {what}.", param=name)

    def _check_json(self, kind: str, value: Any, most: int) -> None:
        if not isinstance(value, str | dict | bool) or (kind != "json" and value is True):
            raise self.refused("must be an object or its JSON text", kind)
        try:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        except (TypeError, ValueError, RecursionError) as error:
            raise self.refused(f"is no JSON: {error}", kind) from None
        if self._size(text) > most:
            raise self.refused(f"is larger than {most} bytes")

    def _size(self, text: str) -> int:
        """Bytes of the text."""
        try:
            return len(text.encode())
        except UnicodeEncodeError:
            raise self.refused("holds half of a surrogate pair") from None

    def _check_choice(self, most: int) -> None:
        options = self.choice
        if not isinstance(options, list | tuple) or not options:
            raise self.refused("must be a list of at least one text", "choice")
        if len(options) > most:
            raise self.refused(f"has {len(options)} choices; at most {most} are allowed")
        if not all(isinstance(option, str) and option for option in options):
            raise self.refused("entries must be texts that are not empty", "choice")
        if sum(map(self._size, options)) > HARD_CAPS.schema_bytes:
            raise self.refused(f"has choices of more than {HARD_CAPS.schema_bytes} bytes in all")

    def _guard(self, check: Callable[[], object]) -> None:
        try:
            check()
        except Refusal as refusal:
            raise self.refused(str(refusal)) from None
        except RecursionError:
            raise self.refused("is nested too deeply") from None


class GuidedDecodingParams(StructuredOutputs, kw_only=True):
    """The older name and fields. `backend` changes nothing: there is one."""

    backend: str | None = None

    def newer(self) -> StructuredOutputs:
        fields = msgspec.structs.asdict(self)
        del fields["backend"]
        return StructuredOutputs(**fields)


class Thought(msgspec.Struct, frozen=True, array_like=True):
    """Reasoning that may come before the constrained text: it is free until `ends` are written."""

    starts: tuple[str, ...]
    ends: tuple[str, ...]
    begun: bool  # the prompt has written the start already


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
