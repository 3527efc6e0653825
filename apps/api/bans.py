"""Addresses that send many wrong keys are refused for a while.

A key of 256 random bits cannot be guessed; what a ban spares is a database read for each guess.
So a key that this process remembers still works from a banned address: others share it.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import RateLimited

log = logging.getLogger(__name__)

MAX_ADDRESSES = 10_000
WINDOW_S = 60.0
OF_ONE_SITE = 64  # bits of an IPv6 address; its owner has the rest


@dataclass(slots=True)
class Record:
    """401s of an address since `since`, and when its ban ends."""

    since: float
    failures: int = 0
    banned_until: float = 0.0


class Bans:
    """Counts answers with 401 by address: `after` of them within a minute ban it for `ban_s`.

    Each web process counts for itself. `after` = 0 bans nobody.
    """

    def __init__(
        self, after: int, ban_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._after = after
        self._ban_s = ban_s
        self._clock = clock
        self._records: OrderedDict[str, Record] = OrderedDict()

    def left_s(self, address: str) -> float:
        """Seconds until the address may try again; 0 for one that is not banned."""
        record = self._records.get(address)
        return 0.0 if record is None else max(0.0, record.banned_until - self._clock())

    def failed(self, address: str) -> None:
        """A request from there was answered with 401."""
        if not self._after or not address:
            return
        now = self._clock()
        record = self._records.pop(address, None) or Record(now)
        self._records[address] = record  # the youngest
        if now - record.since >= WINDOW_S:
            record.failures, record.since = 0, now
        record.failures += 1
        if record.failures >= self._after:
            record.banned_until = now + self._ban_s
            record.failures, record.since = 0, now
            log.warning("address_banned", extra={"address": address, "for_s": self._ban_s})
        if len(self._records) > MAX_ADDRESSES:
            self._records.popitem(last=False)


def address_of(scope: Mapping[str, Any]) -> str:
    """Whom a request counts for; empty where the server knows no address (a Unix socket) or a
    proxy named none."""
    client = scope.get("client")
    try:
        found = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return ""
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, OF_ONE_SITE), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)


def banned(left_s: float) -> RateLimited:
    return RateLimited(
        "Too many wrong API keys came from this address. Send the right one once the time of "
        "Retry-After is over.",
        param="address",
        retry_after_s=left_s,
    )
