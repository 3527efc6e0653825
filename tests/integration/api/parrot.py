"""An engine that says what it is told: `python -m tests.integration.api.parrot`.

A prompt that holds `«say 3»text«end»` is answered with that text, three tokens a step, then the
end of text. Stop strings are matched as in the engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.config import EngineConfig
from engine.core_contract import Core
from engine.daemon import OnProgress, config_texts, daemon_args, parser, serve
from engine.detokenizer import IncrementalDetokenizer
from engine.messages import ChoiceDelta, Finish, QueueBody, TokenLogprob
from engine.stop_strings import StopMatcher
from engine.testing import FakeCore, FakeSpeed, _Choice, _Request
from engine.tokenizer import Tokenizer

SCRIPT = re.compile("«say (\\d+)»(.*?)«end»", re.DOTALL)


def say(text: str, step: int = 1) -> str:
    """A message that makes the parrot answer `text`."""
    return f"«say {step}»{text}«end»"


@dataclass
class Script:
    """What one request is answered with."""

    ids: list[int]
    step: int
    matchers: dict[int, StopMatcher] = field(default_factory=dict)


class Parrot(FakeCore):
    def __init__(self, tokenizer: Tokenizer, speed: FakeSpeed) -> None:
        super().__init__(speed)
        self._tokenizer = tokenizer
        self._scripts: dict[str, Script] = {}
        self._request: _Request | None = None

    def submit(self, body: QueueBody) -> None:
        prompt = self._tokenizer.decode(body.prompts[0], skip_special_tokens=False)
        step, text = SCRIPT.findall(prompt)[-1]
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        script = Script([*ids, min(self._tokenizer.eos_ids)], int(step))
        if body.params.stop:
            script.matchers = {i: self._matcher(body) for i in range(body.width)}
        self._scripts[body.rid] = script
        super().submit(body)

    def _matcher(self, body: QueueBody) -> StopMatcher:
        text = IncrementalDetokenizer(self._tokenizer, prompt_ids=body.prompts[0])
        include = body.params.include_stop_str_in_output
        return StopMatcher(body.params.stop, text, include_stop=include)

    def _advance(self, request: _Request) -> None:
        self._request = request
        super()._advance(request)

    def _more(self, choice: _Choice) -> ChoiceDelta:
        assert self._request is not None
        script = self._scripts[self._request.body.rid]
        delta = ChoiceDelta(choice.index, [])
        scored = self._request.body.params.logprobs is not None
        for token_id in self._next(script, choice):
            delta.token_ids.append(token_id)
            choice.made += 1
            if token_id in self._tokenizer.eos_ids:
                delta.finish, delta.keep_chars = Finish.STOP, None
            elif (matcher := script.matchers.get(choice.index)) is not None:
                match = matcher.push(token_id, may_stop=True)
                delta.keep_chars = match.keep_chars if match else matcher.safe_chars()
                if match:
                    delta.finish, delta.stop_reason = Finish.STOP, match.stop
                    break
        if delta.finish is None and choice.made == choice.limit:
            delta.finish, delta.keep_chars = Finish.LENGTH, None
        if scored:
            delta.logprobs = [[TokenLogprob(i, -0.5, 1)] for i in delta.token_ids]
        choice.finish = delta.finish
        return delta

    @staticmethod
    def _next(script: Script, choice: _Choice) -> Iterator[int]:
        return iter(script.ids[choice.made : min(choice.limit, choice.made + script.step)])


def main() -> int:
    parsed = parser("parrot").parse_args()

    def build(on_progress: OnProgress) -> Core:
        config = EngineConfig.from_texts(config_texts(parsed))
        return Parrot(Tokenizer.load(config.model), FakeSpeed(max_model_len=2048))

    return serve(daemon_args(parsed), build)


if __name__ == "__main__":
    raise SystemExit(main())
