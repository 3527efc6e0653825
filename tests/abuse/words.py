"""Bodies, headers, keys and names that no honest client sends."""

from __future__ import annotations

from collections.abc import Iterator

JSON = ("content-type", "application/json")
MIB = 1024 * 1024
HOSTILE = (
    "nobody",
    "' OR '1'='1' --",
    "../../../../etc/passwd",
    "{{ 7 * 7 }}{% for x in range(10**9) %}{% endfor %}",
    "x\u0000y",
    "m" * 257,
    "m" * 100_000,
    "\u202epirate",
    "model\r\nX-Injected: 1",
    "%s%s%s%n",
    "$(reboot)",
    "<script>alert(1)</script>",
    "http://169.254.169.254/latest/meta-data/",
    "",
    " ",
)
KEYS = (
    "pgd_00000000_0000000000000000000000000000000000000000000000000",
    "' OR 1=1 --",
    "sk-" + "a" * 5000,
    "pgd_",
    "pgd_%00_x",
    "*",
    "null",
    "x; DROP TABLE accounts_apikey",
)
PLACES = (
    "/etc",
    "/etc/passwd",
    "../../..",
    "~root",
    "/proc/self/root",
    "/dev/zero",
    "file:///etc/passwd",
    "http://127.0.0.1:6379/",
    "https://169.254.169.254/latest",
    "\u0000",
    "a" * 1025,
    "$HOME",
    "/tmp/$(id)",
    "x.bin",
)


def bodies(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Class and bytes; no server should read any of them as its request."""
    yield "empty body", b""
    yield "empty body", b" \r\n\t"
    yield "no JSON", b"model=tiny&prompt=hi"
    yield "no JSON", b"\x80\x04\x95pickle."
    yield "no JSON", b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>"
    yield "truncated JSON", good[:-1]
    yield "truncated JSON", good[: len(good) // 2]
    yield "JSON with more behind it", good + b"{}"
    for value in (b"[]", b"null", b'"text"', b"1", b"true", b"[" + good + b"]"):
        yield "JSON that is no object", value
    for word in (b"NaN", b"Infinity", b"-Infinity"):
        yield "numbers that JSON has not", good[:-1] + b',"temperature":' + word + b"}"
    yield "not UTF-8", good[:-1] + b',"user":"\xff\xfe"}'
    yield "not UTF-8", good.decode().encode("utf-16")
    yield "lone surrogate", good[:-1] + b',"user":"\\ud800"}'
    for depth in (65, 200, 5000, 100_000):
        yield "too deep", good[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
    yield "too deep", good[:-1] + b',"x":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}"
    yield "too large", good[:-1] + b',"x":"' + b"a" * (4 * MIB) + b'"}'


def header_sets() -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        yield "wrong content type", (("content-type", kind),)
    yield "too many headers", (JSON, *((f"x-{i}", "1") for i in range(101)))
    yield "too many headers", (JSON, *(("x-same", "1") for _ in range(1000)))
    yield "headers too large", (JSON, ("x-big", "a" * 66_000))
