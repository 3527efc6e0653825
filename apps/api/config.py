"""Reads this app's settings from the environment, once."""

from __future__ import annotations

import os
from functools import cache

from apps.api.caps import ApiCaps, ApiSettings
from engine.client import ClientSettings
from engine.settings import read


@cache
def api_caps() -> ApiCaps:
    return read(ApiCaps, os.environ)


@cache
def api_settings() -> ApiSettings:
    return read(ApiSettings, os.environ)


@cache
def client_settings() -> ClientSettings:
    return read(ClientSettings, os.environ)
