"""What the Python programs of this folder share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

TALK = [{"role": "user", "content": "What is 12 + 7?"}]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
SAYS_SOMETHING = {"min_tokens": 4}  # a model may end a text at once
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Name of the city"}},
                "required": ["city"],
            },
        },
    }
]


def arguments() -> tuple[str, str, str]:
    """Base URL, key and model of the server."""
    base, key, model = sys.argv[1:4]
    return base, key, model


class Recorder:
    """Runs the calls in order and prints one JSON line for each: its name, and why it failed."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, Callable[[], None]]] = []

    def __call__(self, name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
        def take(call: Callable[[], None]) -> Callable[[], None]:
            self._calls.append((name, call))
            return call

        return take

    def run(self) -> None:
        for name, call in self._calls:
            cause = ""
            try:
                call()
            except Exception as error:
                cause = f"{type(error).__name__}: {error}"[:500] or "failed"
            print(json.dumps({"call": name, "cause": cause}), flush=True)  # noqa: T201
