"""Structural tags: free text with constrained parts. The form is that of xgrammar's pages."""

from __future__ import annotations

from typing import Any

from engine.structured import ebnf, json_schema, regex
from engine.structured.refusal import Refusal
from engine.structured.whitespace import MAX_BLANKS

MAX_DEPTH = 16
_TEXTS = {  # form → fields that must be texts
    "const_string": ("value",),
    "any_text": (),
    "regex": ("pattern",),
    "grammar": ("grammar",),
    "tag": ("begin",),
    "tags_with_separator": ("separator",),
}
_INNER = {"sequence": "elements", "or": "elements"}
_ONE = ("optional", "plus", "star", "tag")
_TAGGED = ("triggered_tags", "tags_with_separator")
KNOWN = frozenset(("json_schema", *_TEXTS, *_INNER, *_ONE, *_TAGGED))


def normalised(document: Any) -> dict[str, Any]:
    """The tag with every schema inside checked and its white space bounded. Raises `Refusal`.

    The older form, {structures: [{begin, schema, end}], triggers}, is turned into the newer one.
    """
    if not isinstance(document, dict) or document.get("type") != "structural_tag":
        raise Refusal("must be an object with type 'structural_tag'")
    if "structures" in document or "triggers" in document:
        return {"type": "structural_tag", "format": _part(_of_older_form(document), 0)}
    return {"type": "structural_tag", "format": _part(document.get("format"), 0)}


def _of_older_form(document: dict[str, Any]) -> dict[str, Any]:
    structures = document.get("structures")
    if not isinstance(structures, list) or not all(isinstance(s, dict) for s in structures):
        raise Refusal("needs 'structures', a list of objects, beside 'triggers'")
    tags = [
        {
            "type": "tag",
            "begin": structure.get("begin"),
            "content": {"type": "json_schema", "json_schema": structure.get("schema", True)},
            "end": structure.get("end"),
        }
        for structure in structures
    ]
    return {"type": "triggered_tags", "triggers": document.get("triggers"), "tags": tags}


def _part(part: Any, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise Refusal(f"nests formats deeper than {MAX_DEPTH}")
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in KNOWN:
        raise Refusal(f"has a format whose type is none of {', '.join(sorted(KNOWN))}")
    done = dict(part)
    for name in _TEXTS.get(kind, ()):
        if not isinstance(part.get(name), str):
            raise Refusal(f"has a format {kind!r} without the text {name!r}")
    if kind == "json_schema":
        done["json_schema"] = json_schema.normalised(part.get("json_schema", True))
        done.setdefault("max_whitespace_cnt", MAX_BLANKS)
    elif kind == "regex":
        regex.check(part["pattern"])
    elif kind == "grammar":
        ebnf.check(part["grammar"])
    elif kind in _INNER:
        done["elements"] = [_part(p, depth + 1) for p in _list(part, "elements")]
    elif kind in _TAGGED:
        done["tags"] = [_part(_tag(p), depth + 1) for p in _list(part, "tags")]
        if kind == "triggered_tags":
            _check_triggers(done)
    if kind in _ONE:
        done["content"] = _part(part.get("content"), depth + 1)
    if kind == "tag":
        end = part.get("end")
        ends = end if isinstance(end, list) else [end]
        if not ends or not all(isinstance(text, str) for text in ends):
            raise Refusal("has a tag without 'end', a text or a list of texts")
    return done


def _tag(part: Any) -> Any:
    if isinstance(part, dict) and part.get("type", "tag") != "tag":
        raise Refusal("has an entry in 'tags' whose type is not 'tag'")
    return {"type": "tag"} | part if isinstance(part, dict) else part


def _check_triggers(part: dict[str, Any]) -> None:
    triggers = _list(part, "triggers")
    if not all(isinstance(trigger, str) and trigger for trigger in triggers):
        raise Refusal("has a trigger that is no text")
    for tag in part["tags"]:
        if sum(tag["begin"].startswith(trigger) for trigger in triggers) != 1:
            raise Refusal(f"needs exactly one trigger that begins {tag['begin'][:80]!r}")


def _list(part: dict[str, Any], name: str) -> list[Any]:
    found = part.get(name)
    if not isinstance(found, list) or not found:
        raise Refusal(f"has a format {part['type']!r} without the list {name!r}")
    return found
