"""What the documents name exists, and what exists is documented."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from inference_site import cli

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


def tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["configuration.md", "cli.md"])
def test_every_setting_and_flag_is_documented_as_it_is(name):
    module = tables()
    written = (ROOT / "docs" / name).read_text().split(module.MARK)[1]
    assert written == module.PARTS[name](), "run: python docs/tables.py"


def test_every_verb_is_documented():
    written = (ROOT / "docs" / "cli.md").read_text()
    for verb in (*cli.COMMANDS, *cli.DJANGO):
        assert f"`{verb}" in written, verb


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_make_targets_named_in_the_docs_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.M))
    assert named <= targets | {"alone"}
