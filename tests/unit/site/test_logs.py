"""Log lines: one event a line, as JSON for machines and in words for people."""

from __future__ import annotations

import io
import json
import logging

import pytest

from engine.logs import EventFormatter, event_log
from engine.settings import SettingError
from inference_site.config import server_settings
from inference_site.logs import logging_config


def logged(*, as_json: bool, act) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter(as_json=as_json))
    logger = logging.getLogger("test.logs")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        act(event_log("test.logs"))
    finally:
        logger.removeHandler(handler)
    return stream.getvalue()


def test_json_lines_hold_event_level_and_fields():
    line = json.loads(logged(as_json=True, act=lambda log: log.warning("trouble", rid="r1", n=3)))
    assert (line["event"], line["level"], line["rid"], line["n"]) == ("trouble", "warning", "r1", 3)
    assert line["timestamp"].endswith("+00:00")


def test_plain_lines_quote_values_with_spaces():
    line = logged(as_json=False, act=lambda log: log.error("trouble", cause="no such file", n=3))
    assert line.endswith('error   trouble cause="no such file" n=3\n')


@pytest.mark.parametrize("as_json", [True, False])
def test_an_exception_keeps_its_traceback(as_json):
    def fail(log):
        try:
            raise ValueError("broken")
        except ValueError:
            log.exception("trouble", rid="r1")

    text = logged(as_json=as_json, act=fail)
    assert "ValueError: broken" in text
    assert "r1" in text


def test_text_without_a_terminal_is_json_unless_asked_otherwise(capfd):
    chosen = [
        logging_config(server_settings(environ))["formatters"]["event"]["as_json"]
        for environ in ({}, {"PAGODA_LOG_JSON": "false"}, {"PAGODA_LOG_JSON": "true"})
    ]
    assert chosen == [True, False, True]


def test_a_file_of_the_operator_replaces_our_logging(tmp_path):
    file = tmp_path / "logging.json"
    file.write_text('{"version": 1, "root": {"level": "ERROR"}}')
    settings = server_settings({"PAGODA_LOG_CONFIG": str(file)})
    assert logging_config(settings) == {"version": 1, "root": {"level": "ERROR"}}
    for text in ("{", "[]"):
        file.write_text(text)
        with pytest.raises(SettingError, match="PAGODA_LOG_CONFIG"):
            logging_config(settings)
