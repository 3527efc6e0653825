"""What a web process remembers of keys and models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import Error, InterfaceError, OperationalError

from apps.api import keyformat, snapshot
from apps.api.auth import authenticate, authenticate_again, bearer, remembered, verify
from apps.api.selectors import KeySnapshot, PriceList, pepper
from apps.api.snapshot import Database, Keyring, Models
from apps.models.catalog import Catalog
from engine.errors import InvalidApiKey, ModelNotFound, Overloaded, PagodaError, PermissionDenied
from tests.unit.api.samples import key, model


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database()
    yield made
    made.close()


class Rows:
    """A stand-in for the table: counts reads, may be away."""

    def __init__(self, *keys: KeySnapshot) -> None:
        self.rows = {row.public_id: row for row in keys}
        self.reads = 0
        self.away = False

    def __call__(self, public_id: str) -> KeySnapshot | None:
        self.reads += 1
        if self.away:
            raise OperationalError("gone")
        return self.rows.get(public_id)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_young_entry_is_not_read_again(database: Database) -> None:
    rows, clock = Rows(key()), Clock()
    ring = Keyring(database, read=rows, clock=clock)
    for _ in range(5):
        assert await ring.get("abcdefgh", 2.0)
    assert rows.reads == 1
    clock.now += 2.1
    await ring.get("abcdefgh", 2.0)
    assert rows.reads == 2


async def test_an_unknown_id_is_asked_for_once_a_second(database: Database) -> None:
    rows, clock = Rows(), Clock()
    ring = Keyring(database, read=rows, clock=clock)
    for _ in range(5):
        assert await ring.get("nothere0", 30.0) is None
    assert rows.reads == 1
    clock.now += 1.1
    await ring.get("nothere0", 30.0)
    assert rows.reads == 2


async def test_callers_at_the_same_time_share_one_read(database: Database) -> None:
    rows = Rows(key())
    ring = Keyring(database, read=rows)
    await asyncio.gather(*(ring.get("abcdefgh", 2.0) for _ in range(50)))
    assert rows.reads == 1


async def test_without_database_only_admission_trusts_an_old_entry(database: Database) -> None:
    rows, clock = Rows(key()), Clock()
    ring = Keyring(database, read=rows, clock=clock)
    await ring.get("abcdefgh", 2.0)
    rows.away, clock.now = True, clock.now + 60
    assert await ring.get("abcdefgh", 2.0, admission=True)
    with pytest.raises(Overloaded) as caught:
        await ring.get("abcdefgh", 2.0)
    assert caught.value.param == "database"


async def test_a_forgotten_entry_is_read_again_or_not_believed(database: Database) -> None:
    rows, clock = Rows(key()), Clock()
    ring = Keyring(database, read=rows, clock=clock)
    await ring.get("abcdefgh", 30.0)
    ring.forget()
    rows.away = True
    with pytest.raises(Overloaded):
        await ring.get("abcdefgh", 30.0, admission=True)
    rows.away = False
    assert await ring.get("abcdefgh", 30.0, admission=True)
    assert rows.reads == 3


async def test_a_ban_spares_good_keys_after_redis_was_away(database: Database) -> None:
    new, other = keyformat.generate(), keyformat.generate()
    row = key(public_id=new.public_id, digest=keyformat.digest(new.text, pepper()))
    ring = Keyring(database, read=Rows(row))
    await ring.get(new.public_id, 30.0)
    ring.forget()
    asked = [[(b"authorization", f"Bearer {made.text}".encode())] for made in (new, other)]
    assert [remembered(ring, headers) for headers in asked] == [True, False]


async def test_an_entry_proves_nothing_without_the_secret(database: Database) -> None:
    new, forged = keyformat.generate(), keyformat.generate()
    row = key(public_id=new.public_id, digest=keyformat.digest(new.text, pepper()))
    ring = Keyring(database, read=Rows(row))
    assert await authenticate(ring, f"Bearer {new.text}".encode(), 2.0)
    body = f"pgd_{new.public_id}_{forged.text[13:56]}"
    stolen = body + keyformat._checksum(body)
    with pytest.raises(InvalidApiKey):
        await authenticate(ring, f"Bearer {stolen}".encode(), 2.0)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"expires_at": 1.0}, InvalidApiKey),
        ({"dead": True}, InvalidApiKey),
        ({"digest": b"of another key"}, InvalidApiKey),
        ({"scopes": frozenset({"management"})}, PermissionDenied),
    ],
)
async def test_a_stale_key_is_checked_whole_when_it_was_read_again(
    database: Database, changes: dict[str, Any], refusal: type[PagodaError]
) -> None:
    ring = Keyring(database, read=Rows(key(**changes)))
    with pytest.raises(refusal):
        await authenticate_again(ring, key(), "inference")
    unchanged = Keyring(database, read=Rows(key(epoch=2)))
    assert (await authenticate_again(unchanged, key(), "inference")).epoch == 2


async def test_made_up_ids_push_out_no_key(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MAX_KEYS", 3)
    rows = Rows(key())
    ring = Keyring(database, read=rows)
    await ring.get("abcdefgh", 30.0)
    for number in range(9):
        await ring.get(f"made-up{number}", 30.0)
    reads = rows.reads
    assert await ring.get("abcdefgh", 30.0)
    assert rows.reads == reads


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
async def test_every_failure_of_the_database_is_a_503(
    database: Database, error: type[Error]
) -> None:
    def fail() -> None:
        raise error("gone")

    with pytest.raises(Overloaded) as caught:
        await database.read(fail)
    assert caught.value.param == "database"


async def test_reads_that_wait_are_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MAX_READS", 3)
    gate = threading.Event()
    waiting = [asyncio.create_task(database.read(gate.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await database.read(gate.wait)
    gate.set()
    await asyncio.gather(*waiting)
    assert await database.read(gate.wait)


@pytest.mark.parametrize("changes", [{"dead": True}, {"expires_at": 1.0}])
def test_ended_keys_are_refused(changes: dict[str, Any]) -> None:
    new = keyformat.generate()
    row = key(public_id=new.public_id, digest=keyformat.digest(new.text, pepper()), **changes)
    with pytest.raises(InvalidApiKey):
        verify(new.text, row)


@pytest.mark.parametrize(
    "header", [None, b"", b"Bearer", b"Basic x", b"Bearer \xff", b"Bearer " + b"x" * 300]
)
def test_headers_of_another_form_hold_no_key(header: bytes | None) -> None:
    assert not bearer(header)


def models(database: Database, catalogs: list[Catalog]) -> Models:
    return Models(database, read=lambda: catalogs.pop(0), read_prices=lambda: PriceList(()))


async def test_an_unknown_name_reads_the_catalog_once_before_it_is_404(database: Database) -> None:
    fresh = Catalog(epoch=2, models={"tiny": model()})
    known = models(database, [fresh, fresh])
    assert (await known.target("tiny", key())).name == "tiny"
    with pytest.raises(ModelNotFound):
        await known.target("nope", key())


async def test_a_name_the_key_may_not_use_looks_like_none(database: Database) -> None:
    known = models(database, [Catalog(epoch=2, models={"tiny": model()})])
    with pytest.raises(ModelNotFound) as mine:
        await known.target("tiny", key(allowed_models=frozenset({"other"})))
    assert "does not exist" in mine.value.message


async def test_a_reload_never_returns_a_read_that_began_earlier(database: Database) -> None:
    catalogs = [Catalog(epoch=n, models={}) for n in (1, 2, 3)]
    known = models(database, catalogs)
    first = asyncio.create_task(known.reload())
    await asyncio.sleep(0)
    await asyncio.gather(*(known.reload() for _ in range(20)))
    await first
    assert known.catalog.epoch == 2


async def test_an_unread_catalog_is_a_503_and_no_404(database: Database) -> None:
    catalogs = [Catalog(epoch=1, models={"tiny": model()})]
    away = True

    def read() -> Catalog:
        if away:
            raise OperationalError("gone")
        return catalogs[0]

    known = Models(database, read=read, read_prices=lambda: PriceList(()))
    asked = [known.target("tiny", key()) for _ in range(20)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in found} == {Overloaded}
    away = False
    assert (await known.target("tiny", key())).name == "tiny"
