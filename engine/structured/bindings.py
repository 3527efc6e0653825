"""xgrammar's C++ part alone. Its Python package would bring torch and transformers with it, and
tvm_ffi under it torch: seconds and hundreds of MiB for a process that only compiles grammars.
A process that has torch already shares it; one that has not does without.

`core` has TokenizerInfo, GrammarCompiler, CompiledGrammar, GrammarMatcher and Grammar; their
methods release the GIL.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from engine.structured import ebnf, json_schema, tags
from engine.structured.outputs import StructuredOutputs
from engine.structured.whitespace import MAX_BLANKS, layout_of

RAW_VOCABULARY = 0  # tokens are given as the bytes they stand for


def _load() -> Any:
    absent: Any = None  # makes `import torch` fail, which tvm_ffi takes for "not installed"
    sys.modules.setdefault("torch", absent)
    if "xgrammar" not in sys.modules:
        spec = find_spec("xgrammar")
        assert spec is not None, "the package xgrammar is not installed"
        package = ModuleType("xgrammar")
        package.__path__ = list(spec.submodule_search_locations or ())
        package.__spec__ = spec
        sys.modules["xgrammar"] = package
    for name in ("load_binding", "exception"):
        importlib.import_module(f"xgrammar.{name}")
    if sys.modules["torch"] is None:
        del sys.modules["torch"]
    return importlib.import_module("xgrammar.tvm_ffi_binding._ffi_api")


core = _load()


def tokenizer_info(vocabulary: list[bytes], eos_ids: list[int]) -> Any:
    """Token id → bytes; an empty entry can never be said. `eos_ids` end a complete text."""
    return core.TokenizerInfo(vocabulary, RAW_VOCABULARY, len(vocabulary), eos_ids, False)


def compiler_for(info: Any) -> Any:
    """One thread, no cache of its own."""
    return core.GrammarCompiler(info, 1, False, -1)


def compiled(compiler: Any, form: StructuredOutputs) -> Any:
    """The grammar of a checked form. Raises what the library raises; takes any time."""
    match form.kind:
        case "json" | "json_object" as kind:
            schema = {"type": "object", "additionalProperties": True}
            if kind == "json":
                schema = json_schema.normalised(form.document())
            layout = layout_of(form.whitespace_pattern, form.disable_any_whitespace)
            separators, free = layout.separators, layout.separators is None
            blanks = MAX_BLANKS if free else None
            text = json.dumps(schema)
            return compiler.compile_json_schema(text, free, None, separators, True, blanks, False)
        case "regex":
            return compiler.compile_regex(form.regex)
        case "choice":
            rules = " | ".join(_literal(option) for option in form.choice or ())
            return compiler.compile_grammar_from_strings(f"root ::= {rules}", ebnf.ROOT)
        case "structural_tag":
            return compiler.compile_structural_tag(json.dumps(tags.normalised(form.document())))
    if ebnf.is_ebnf(form.grammar or ""):
        return compiler.compile_grammar_from_strings(form.grammar, ebnf.ROOT)
    translated = core.Grammar.from_lark(form.grammar, None, [], [])
    ebnf.check_printed(str(translated.to_string()))
    return compiler.compile_grammar_ebnf(translated)


def _literal(text: str) -> str:
    """A text as a literal of GBNF."""
    plain = (c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in text)
    return '"' + "".join(plain) + '"'
