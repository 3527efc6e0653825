"""`pagoda run-batch -i requests.jsonl -o answers.jsonl --model M`: a file of requests, answered.

The requests go through a `serve` of its own (or the server of --url), so every route, field and
error is the same as online.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
from tqdm import tqdm

from inference_site.commands import CommandFailed
from inference_site.commands.batch_file import (
    BatchOutput,
    BatchRequest,
    answer_line,
    error_line,
    requests_of,
)
from inference_site.commands.endpoint import Endpoint, endpoint_of
from inference_site.commands.own_server import own_server

BUSY = (429, 503)  # come back later
MOST_TRIES, LONGEST_WAIT_S = 100, 30.0


def run_batch(argv: Sequence[str]) -> int:
    """Exit status 0 when every line has an answer or an error of its own."""
    given, flags = _parser().parse_known_args(argv)
    if given.url and (flags or given.model):
        raise CommandFailed(f"--url names a server that runs: {flags or ['--model']} is too much.")
    requests = list(requests_of(given.input_file))
    output = BatchOutput(given.output_file)
    try:
        left = [request for request in requests if request.mark not in output.done]
        if len(left) < len(requests):
            sys.stderr.write(f"{len(requests) - len(left)} of {len(requests)} are done already.\n")
        if left:
            words = [given.model] if given.model else []
            with _server(given, [*words, *flags]) as endpoint:
                asyncio.run(_answer_all(endpoint, left, output, given.concurrency))
    finally:
        output.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pagoda run-batch",
        description="Answer a file of requests (JSON lines in OpenAI's batch shape). A batch that "
        "was cut off goes on where it stopped. Flags not listed here are those of serve.",
        allow_abbrev=False,
    )
    parser.add_argument("-i", "--input-file", type=Path, required=True, help="requests, one a line")
    parser.add_argument("-o", "--output-file", type=Path, required=True, help="answers, appended")
    parser.add_argument("--model", help="folder or hub id; default: the demo")
    parser.add_argument("--url", help="use this running server instead of one of our own")
    parser.add_argument("--api-key", help="key for --url; default: as for chat")
    parser.add_argument("--concurrency", type=int, default=256, help="open requests (default 256)")
    return parser


@contextlib.contextmanager
def _server(given: argparse.Namespace, flags: Sequence[str]) -> Iterator[Endpoint]:
    if given.url:
        yield endpoint_of(given)
        return
    with own_server(flags) as endpoint:
        yield endpoint


async def _answer_all(
    endpoint: Endpoint, requests: Sequence[BatchRequest], output: BatchOutput, concurrency: int
) -> None:
    """`concurrency` workers take lines in order; answers are written as they come."""
    waiting = iter(requests)
    with tqdm(total=len(requests), desc="Requests", unit="request") as progress:

        async def worker(client: httpx.AsyncClient) -> None:
            for request in waiting:
                if request.wrong:
                    output.write(error_line(request))
                else:
                    reply = await _ask(client, request)
                    rid = reply.headers.get("x-request-id", "")
                    output.write(
                        answer_line(
                            request, status=reply.status_code, request_id=rid, body=reply.json()
                        )
                    )
                progress.update()

        async with endpoint.async_client(concurrency) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(max(1, min(concurrency, len(requests)))):
                        group.create_task(worker(client))
            except* httpx.TransportError as errors:
                kind = type(errors.exceptions[0]).__name__
                raise CommandFailed(
                    f"The server went away ({kind}). Run the same command again to go on."
                ) from None


async def _ask(client: httpx.AsyncClient, request: BatchRequest) -> httpx.Response:
    """One answer; a busy server is asked again when it says so."""
    for _ in range(MOST_TRIES):
        reply = await client.post(request.url, json=request.body)
        if reply.status_code not in BUSY or "retry-after" not in reply.headers:
            break
        await asyncio.sleep(min(LONGEST_WAIT_S, float(reply.headers["retry-after"])))
    return reply
