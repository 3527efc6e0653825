"""Each family's own text says what its sample says."""

from __future__ import annotations

from collections import Counter

import pytest

from apps.api.parsers import collect
from tests.unit.parsers.families import CASES, expected, pipeline, said
from tests.unit.parsers.samples.answers import Sample


@pytest.mark.parametrize(("tool", "reasoning", "sample"), CASES, ids=str)
def test_whole_text_says_what_the_sample_says(tool, reasoning, sample: Sample):
    parser = pipeline(tool, reasoning, **sample.options)
    assert said(collect(parser.parse_whole(sample.text))) == expected(sample)
    assert parser.num_calls == len(sample.calls)


def test_every_parser_has_twenty_samples():
    counts = Counter((tool, reasoning) for tool, reasoning, _ in CASES)
    assert len(counts) == 12
    assert min(counts.values()) >= 20
