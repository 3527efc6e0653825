"""An engine dies where no settle process runs: its requests must not wait until their deadline."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import redis

from engine import redis_keys
from engine.messages import EngineBeat, unpack
from tests.served import wait_for
from tests.stack import MODEL, Stack

BODY = {"model": MODEL, "prompt": "a", "max_tokens": 60}


def test_whole_answers_of_a_dead_engine_come_from_another_one(stack: Stack) -> None:
    def ask(_: int) -> int:
        with stack.http() as http:
            return http.post("/v1/completions", json=BODY).status_code

    def running() -> int:
        with redis.Redis.from_url(stack.redis_url) as client:
            beat = client.get(redis_keys.engine_beat("doomed"))
        return unpack(EngineBeat, beat).running if isinstance(beat, bytes) else 0

    def asked_until_it_runs() -> int:
        answers.append(pool.submit(ask, next(numbers)))
        return running()

    stack.start_engine("--step-delay-s", "0.5", "--vocab-size", "200", name="doomed")
    numbers, answers = count(), []
    with ThreadPoolExecutor(64) as pool:
        wait_for(asked_until_it_runs, what="a request at the engine that dies")
        stack.kill("doomed")
    assert {answer.result() for answer in answers} == {200}
