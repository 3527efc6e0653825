"""Names, versions and desired state: what a change does at once, and what it refuses."""

from __future__ import annotations

import pytest

from apps.api.models import AuditEvent, Owner
from apps.api.services import key_create, owner_get_or_create
from apps.lora import services, tickets
from apps.lora.admin import _keys_with
from apps.lora.models import Adapter, AdapterVersion, VersionState
from apps.lora.selectors import adapter_state
from apps.lora.services import version_add, version_refuse, version_switch
from apps.lora.sources import source_from
from apps.models.models import ServedModel
from apps.models.selectors import catalog_read
from apps.models.services import model_delete, model_register
from engine.errors import InvalidRequest, ModelNotFound
from inference_site.paths import DEMO_MODEL
from tests.integration.lora.conftest import added, last_of

A, B, C = "a" * 64, "b" * 64, "c" * 64


def in_use(name: str, digest: str = A) -> AdapterVersion:
    """A version that every engine has, and that the name stands for."""
    version = added(name, digest)
    assert version_switch(version=version)
    version.refresh_from_db()
    return version


def test_name_enters_the_catalog_when_it_is_usable_and_not_before(base: ServedModel) -> None:
    version = added("pirate")
    assert set(catalog_read().models) == {"demo"}
    epoch = catalog_read().epoch
    version_switch(version=version)
    catalog = catalog_read()
    entry = catalog.models["pirate"]
    assert (entry.base, entry.parent, entry.adapter_digest) == ("demo", "demo", A)
    assert entry.root == f"sha256:{A}"
    assert entry.max_model_len == 1024
    assert list(catalog.models) == ["demo", "pirate"]
    assert catalog.epoch > epoch


def test_unload_takes_the_name_away_at_once_and_drains(base: ServedModel) -> None:
    version = in_use("pirate")
    epoch = catalog_read().epoch
    services.adapter_unload(name="pirate")
    version.refresh_from_db()
    assert version.state == VersionState.DRAINING
    assert "pirate" not in catalog_read().models
    assert catalog_read().epoch > epoch
    with pytest.raises(InvalidRequest, match="is not loaded"):
        services.adapter_unload(name="pirate")


def test_load_brings_back_the_version_that_was_in_use(base: ServedModel) -> None:
    version = in_use("pirate")
    services.adapter_unload(name="pirate")
    services.adapter_load(name="pirate")
    version.refresh_from_db()
    assert version.state == VersionState.LOADING
    assert "pirate" not in catalog_read().models
    assert version_switch(version=version)
    assert catalog_read().models["pirate"].adapter_digest == A


def test_unload_during_a_load_wins(base: ServedModel) -> None:
    version = added("pirate")
    services.adapter_unload(name="pirate")
    version.refresh_from_db()
    assert version.state == VersionState.DRAINING
    assert not version_switch(version=version)  # an engine was ready a moment too late
    assert "pirate" not in catalog_read().models


def test_replacing_serves_the_old_version_until_the_new_one_is_usable(base: ServedModel) -> None:
    old = in_use("pirate", A)
    new = added("pirate", B)
    assert catalog_read().models["pirate"].adapter_digest == A
    assert version_switch(version=new)
    assert catalog_read().models["pirate"].adapter_digest == B
    old.refresh_from_db()
    assert old.state == VersionState.DRAINING


def test_of_two_replacements_the_later_one_wins_whatever_is_checked_first(
    base: ServedModel,
) -> None:
    in_use("pirate", A)
    middle = version_add(name="pirate", source=source_from("terse"))
    newest = added("pirate", C)
    claimed = services.version_claim(middle.pk, stale_before=middle.since)
    assert claimed is not None
    services.version_accept(version=claimed, facts=services.Facts(digest=B, rank=1, alpha=1.0))
    assert Adapter.objects.get(name="pirate").target == newest
    assert version_switch(version=newest)
    middle.refresh_from_db()
    assert middle.state == VersionState.UNLOADED


def test_roll_back_and_forward_again(base: ServedModel) -> None:
    in_use("pirate", A)
    in_use("pirate", B)
    services.adapter_roll_back(name="pirate", number=1)
    first = AdapterVersion.objects.get(number=1)
    assert first.state == VersionState.LOADING
    assert catalog_read().models["pirate"].adapter_digest == B
    version_switch(version=first)
    assert catalog_read().models["pirate"].adapter_digest == A
    with pytest.raises(InvalidRequest, match="no valid version 7"):
        services.adapter_roll_back(name="pirate", number=7)


def test_version_that_only_waits_takes_no_name(base: ServedModel) -> None:
    in_use("pirate", A)
    waiting = added("pirate", B, load=False)
    assert waiting.state == VersionState.UNLOADED
    assert Adapter.objects.get().target != waiting


def test_refused_version_leaves_the_one_in_use_alone(base: ServedModel) -> None:
    in_use("pirate", A)
    bad = version_add(name="pirate", source=source_from("terse"))
    version_refuse(
        version=bad, problems=["Rank 0."], cause="The adapter has 1 problem.", fix="Mend."
    )
    assert catalog_read().models["pirate"].adapter_digest == A
    assert last_of("pirate").problems == ["Rank 0."]


def test_adapter_without_a_valid_version_cannot_be_loaded(base: ServedModel) -> None:
    bad = version_add(name="pirate", source=source_from("terse"))
    version_refuse(version=bad, problems=["Rank 0."], cause="Bad.", fix="Mend.")
    with pytest.raises(InvalidRequest, match="No version"):
        services.adapter_load(name="pirate")
    assert adapter_state(Adapter.objects.get()) == VersionState.FAILED


@pytest.mark.parametrize("name", ["", "x" * 129, "../etc", "a b", "<script>", "-x", "é", "a\n"])
def test_name_that_cannot_be_asked_for_is_refused(name: str, base: ServedModel) -> None:
    with pytest.raises(InvalidRequest):
        version_add(name=name, source=source_from("terse"))
    assert not Adapter.objects.exists()


def test_models_and_adapters_never_share_a_name(base: ServedModel) -> None:
    with pytest.raises(InvalidRequest, match="belongs to the model"):
        version_add(name="demo", source=source_from("terse"))
    added("pirate")
    with pytest.raises(InvalidRequest, match="belongs to an adapter"):
        model_register(name="other", source=str(DEMO_MODEL), aliases=["pirate"])


def test_base_must_be_named_where_there_are_several(base: ServedModel) -> None:
    ServedModel.objects.create(name="second", source=str(DEMO_MODEL))
    with pytest.raises(InvalidRequest, match="'base' is required"):
        version_add(name="pirate", source=source_from("terse"))
    with pytest.raises(ModelNotFound):
        version_add(name="pirate", source=source_from("terse"), base="third")
    version_add(name="pirate", source=source_from("terse"), base="second")
    with pytest.raises(InvalidRequest, match="belongs to the model 'second'"):
        version_add(name="pirate", source=source_from("terse"), base="demo")


def test_delete_wants_an_unloaded_adapter_and_keeps_the_base_until_then(base: ServedModel) -> None:
    version = in_use("pirate")
    with pytest.raises(InvalidRequest, match="Unload it first"):
        services.adapter_delete(name="pirate")
    services.adapter_unload(name="pirate")
    with pytest.raises(InvalidRequest, match="still draining"):
        services.adapter_delete(name="pirate")
    services.version_move(version=version, to=VersionState.UNLOADED, was=(VersionState.DRAINING,))
    ServedModel.objects.update(desired="unloaded")
    with pytest.raises(InvalidRequest, match="delete its adapters first"):
        model_delete(name="demo")
    services.adapter_delete(name="pirate")
    model_delete(name="demo")


def test_model_without_adapters_takes_none_and_hides_those_it_had(base: ServedModel) -> None:
    in_use("pirate")
    base.engine_options = {"enable_lora": False}
    base.save()
    assert set(catalog_read().models) == {"demo"}
    for add in (
        lambda: version_add(name="new", source=source_from("terse")),
        lambda: services.adapter_load(name="pirate"),
    ):
        with pytest.raises(InvalidRequest, match=r"served without adapters.*enable_lora"):
            add()


def test_every_change_is_in_the_audit_trail(base: ServedModel) -> None:
    in_use("pirate")
    services.adapter_pin(name="pirate", pinned=True)
    services.adapter_roll_back(name="pirate", number=1)
    services.adapter_unload(name="pirate")
    services.adapter_load(name="pirate")
    actions = set(AuditEvent.objects.filter(subject="pirate").values_list("action", flat=True))
    assert actions == {
        "adapter.add", "adapter.accept", "adapter.pin", "adapter.roll_back", "adapter.unload",
        "adapter.load",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["a/load", "a/b/unload", "pin", "x/roll_back"])
def test_names_that_routes_end_with_are_refused(base: ServedModel, name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot end in"):
        version_add(name=name, source=source_from("terse"))
    assert not Adapter.objects.exists()


def test_open_uploads_are_counted_for_their_owner(
    base: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tickets, "MAX_OPEN_UPLOADS", 1)
    one, other = (owner_get_or_create(name=name) for name in ("one", "other"))

    def opened(name: str, owner: Owner | None) -> None:
        tickets.upload_open(name=name, base="demo", load=False, owner=owner, actor=services.SYSTEM)

    opened("a", one)
    with pytest.raises(InvalidRequest, match="1 uploads of yours are open"):
        opened("b", one)
    opened("b", other)
    opened("c", None)


def test_keys_of_the_playground_stand_in_no_list(base: ServedModel) -> None:
    version = in_use("pirate")
    owner = owner_get_or_create(name="someone")
    key_create(owner=owner, name="mine", allowed_models=["pirate"])
    key_create(owner=owner, name="playground", temporary=True)
    assert _keys_with(version.adapter.name)["all"] == 0
    assert [name for _, name in _keys_with("pirate")["named"]] == ["mine"]
