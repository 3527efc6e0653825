"""`pagoda adapters`: what each verb does and says."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.lora import selectors
from apps.lora.checking import version_check
from apps.lora.models import Adapter, VersionState
from apps.lora.services import adapter_unload, version_move
from apps.models.models import Desired, ServedModel
from inference_site.paths import DEMO_ADAPTERS
from tests.integration.lora.conftest import last_of
from tests.integration.lora.test_services import A, B, in_use


def pagoda(*words: str) -> str:
    said = StringIO()
    call_command("adapters", *words, stdout=said)
    return said.getvalue()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a check makes it."""

    def check(version_id: int, *, name: str, within_s: float) -> bool:
        version_check(version_id)
        return last_of(name).state == VersionState.LOADING

    monkeypatch.setattr(selectors, "version_await", check)


@pytest.mark.usefixtures("quick_check", "worker")
def test_add_takes_any_folder_and_keeps_what_was_asked(base: ServedModel) -> None:
    assert pagoda("add", "mine", str(DEMO_ADAPTERS / "terse"), "--pin") == "added\n"
    adapter = Adapter.objects.get(name="mine")
    assert (adapter.pinned, adapter.desired) == (True, Desired.LOADED)
    assert "not usable yet" in pagoda("add", "kept", str(DEMO_ADAPTERS / "terse"), "--no-load")
    assert Adapter.objects.get(name="kept").desired == Desired.UNLOADED


def test_list_shows_versions_and_problems(base: ServedModel) -> None:
    in_use("pirate", A)
    listed = pagoda("list")
    assert "pirate  ready  on demo" in listed
    assert "* version 1  ready  rank 4" in listed


def test_verbs_move_the_desired_state(base: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "load_await", lambda name, *, within_s: True)
    in_use("pirate", A)
    in_use("pirate", B)
    assert pagoda("pin", "pirate") == "pinned\n"
    assert Adapter.objects.get().pinned
    assert pagoda("unpin", "pirate") == "unpinned\n"
    assert pagoda("rollback", "pirate", "1") == "version 1 is in use\n"
    assert Adapter.objects.get().target == last_of("pirate").adapter.versions.get(number=1)
    assert pagoda("unload", "pirate") == "unloaded\n"
    assert pagoda("load", "pirate") == "loaded\n"
    assert Adapter.objects.get().desired == Desired.LOADED


def test_remove_wants_it_out_of_the_engines(base: ServedModel) -> None:
    version = in_use("pirate")
    with pytest.raises(CommandError, match="Unload it first"):
        pagoda("remove", "pirate")
    adapter_unload(name="pirate")
    version_move(version=version, to=VersionState.UNLOADED, was=(VersionState.DRAINING,))
    assert pagoda("remove", "pirate") == "removed\n"
    assert not Adapter.objects.exists()


@pytest.mark.parametrize("verb", ["load", "unload", "pin", "remove"])
def test_unknown_name_is_told(verb: str, base: ServedModel) -> None:
    with pytest.raises(CommandError, match="does not exist"):
        pagoda(verb, "nobody")
