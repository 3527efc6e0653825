"""A slice of what `tests/volume/test_openapi.py` checks of every route."""

from __future__ import annotations

import pytest

from tests.openapi_check import check_document
from tests.stack import MODEL

PATHS = "^/(tokenize|detokenize|v1/models|v1/completions|v1/chat/completions)$"


@pytest.mark.timeout(240)
def test_generated_requests_get_the_answers_of_the_document(stack, tmp_path):
    flags = [f"--include-path-regex={PATHS}", "--phases=fuzzing", "--max-examples=4", "--seed=1"]
    check_document(stack.base, stack.keys["full"], MODEL, tmp_path, *flags)
