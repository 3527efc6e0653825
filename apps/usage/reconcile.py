"""Ends what nobody else will end, and heals the holds of budgets. Runs under the judge's lock."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import DecodeError

from engine import redis_keys, scripts
from engine.logs import event_log
from engine.messages import Finish
from engine.redis_link import RedisLink
from engine.scripts import LedgerEntry

log = event_log(__name__)
GRACE_MS = 60_000  # past the deadline; then whatever holds an entry has lost its right
PAGE = 500


class Reconciler:
    """One pass over the ledger."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def run(self) -> int:
        """End what is past its deadline, or lost without a web process. Returns how many."""
        seconds, micros = self._link.client.time()
        now_ms = seconds * 1000 + micros // 1000
        ended = 0
        webs: dict[str, bool] = {}
        for rid, entry in self._ledger():
            if now_ms > entry.deadline + GRACE_MS:
                ended += self._end(rid, entry, "any")
            elif entry.state == "lost" and not self._web_lives(entry.web, webs):
                ended += self._end(rid, entry, "lost")
        healed = int(scripts.run(self._link.client, scripts.heal()))
        if healed:
            log.error("budget_holds_healed", count=healed)
        if ended:
            log.warning("requests_reconciled", count=ended)
        return ended

    def _ledger(self) -> Iterator[tuple[str, LedgerEntry]]:
        for rid, packed in self._link.client.hscan_iter(redis_keys.OPEN, count=PAGE):
            try:
                yield scripts.text(rid), scripts.read_entry(packed)
            except DecodeError as error:
                log.error("ledger_entry_unreadable", rid=scripts.text(rid), cause=str(error))

    def _web_lives(self, web: str, known: dict[str, bool]) -> bool:
        if web not in known:
            known[web] = bool(self._link.client.exists(redis_keys.web_beat(web)))
        return known[web]

    def _end(self, rid: str, entry: LedgerEntry, who: scripts.Who) -> int:
        finish = Finish(entry.cancel) if entry.cancel else Finish.LOST
        ending = scripts.Ending(
            rid=rid,
            attempt=entry.attempt,
            web=entry.web,
            finish=finish,
            who=who,
            error="" if entry.cancel else "EngineLost",
        )
        return int(scripts.run(self._link.client, scripts.terminal(ending)))
