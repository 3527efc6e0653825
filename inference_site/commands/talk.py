"""`pagoda chat` and `pagoda complete`: a running server from the terminal, word by word."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx

from inference_site.commands import CommandFailed
from inference_site.commands.endpoint import (
    add_arguments,
    endpoint_of,
    first_model,
    stream,
)

Reply = Callable[[str], Iterator[str]]  # one line of the person → pieces of the answer


def chat(argv: Sequence[str]) -> int:
    """Keep a conversation; each answer joins it."""
    parser = _parser("chat", "Talk to the model. End with Ctrl-D.")
    parser.add_argument("--system-prompt", help="how the model shall behave")
    given = parser.parse_args(argv)
    talk: list[dict[str, str]] = []
    if given.system_prompt:
        talk.append({"role": "system", "content": given.system_prompt})

    def answers(client: httpx.Client, fields: dict[str, Any]) -> Reply:
        def reply(line: str) -> Iterator[str]:
            talk.append({"role": "user", "content": line})
            whole = ""
            for chunk in stream(client, "/v1/chat/completions", {"messages": talk, **fields}):
                for choice in chunk["choices"]:
                    piece = choice["delta"].get("content") or ""
                    whole += piece
                    yield piece
            talk.append({"role": "assistant", "content": whole})

        return reply

    return _run(given, answers)


def complete(argv: Sequence[str]) -> int:
    """Continue each line as it stands."""
    given = _parser("complete", "Continue a text. End with Ctrl-D.").parse_args(argv)

    def answers(client: httpx.Client, fields: dict[str, Any]) -> Reply:
        def reply(line: str) -> Iterator[str]:
            for chunk in stream(client, "/v1/completions", {"prompt": line, **fields}):
                for choice in chunk["choices"]:
                    yield choice["text"]

        return reply

    return _run(given, answers)


def _parser(verb: str, words: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"pagoda {verb}", description=words, allow_abbrev=False)
    add_arguments(parser)
    parser.add_argument("--model-name", "--model", help="default: the first the server lists")
    parser.add_argument("--quick", "-q", metavar="TEXT", help="answer this text and end")
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--temperature", type=float)
    return parser


def _run(
    given: argparse.Namespace, answers: Callable[[httpx.Client, dict[str, Any]], Reply]
) -> int:
    with endpoint_of(given).client() as client:
        fields = {name: getattr(given, name) for name in ("max_tokens", "temperature")}
        fields = {name: value for name, value in fields.items() if value is not None}
        fields["model"] = given.model_name or first_model(client)
        reply = answers(client, fields)
        if given.quick is not None:
            _say(reply(given.quick))
            return 0
        for line in _lines():
            try:
                _say(reply(line))
            except CommandFailed as error:  # the next line may be a better one
                sys.stderr.write(f"{error}\n")
    return 0


def _lines() -> Iterator[str]:
    """What the person types, or the lines of a pipe."""
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(prompt)
        except EOFError:
            return
        if line.strip():
            yield line


def _say(pieces: Iterator[str]) -> None:
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
