"""Settings of the server: read once from the environment, free of Django and torch.

The launcher, Django's settings module and the command line all build `ServerSettings` here, so a
bad value has the same message everywhere.
"""

from __future__ import annotations

import importlib
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from engine.settings import SettingError, read, refuse_unknown, setting

# Where other parts declare settings: imported only to check names, each free of torch.
SETTINGS_CLASSES = (
    "inference_site.config:ServerSettings",
    "inference_site.config:InternalSettings",
    "engine.client:ClientSettings",
    "engine.machine:MachineSettings",
    "apps.api.caps:ApiCaps",
    "apps.models.alert_settings:AlertSettings",
    "apps.api.caps:ApiSettings",
    "apps.lora.config:LoraSettings",
)
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What the whole server shares. Every field is an environment name `PAGODA_<FIELD>`."""

    home: Path = setting(Path(".pagoda"), "folder of secrets, database, logs and models")
    host: str = setting("127.0.0.1", "address to listen on")
    port: int = setting(8000, "port to listen on", low=1, high=65535)
    uds: Path | None = setting(None, "Unix socket to listen on instead of host and port")
    ssl_keyfile: Path | None = setting(None, "private key (PEM): serve https by ourselves")
    ssl_certfile: Path | None = setting(None, "certificate (PEM) to it")
    allowed_origins: str = setting(
        "", "origins whose pages may call the API, as a JSON list or by commas; *: all"
    )
    allowed_methods: str = setting("*", "methods such pages may use; *: all")
    allowed_headers: str = setting("*", "request headers such pages may send; *: all")
    disable_docs: bool = setting(False, "serve neither /docs nor /openapi.json")
    public_url: str = setting("", "URL clients use, when it is not http://host:port")
    database_url: str = setting(
        "", "postgresql://… of a production database; empty: SQLite in home"
    )
    database_password_file: Path | None = setting(
        None, "file with the database's password, so that no environment holds it"
    )
    redis_url: str = setting("", "redis://, rediss:// or unix:// URL; empty: an embedded Redis")
    broker_url: str = setting("", "Celery's broker; empty: database 1 of the Redis above")
    database_pool_size: int = setting(8, "PostgreSQL connections per process", low=1, high=200)
    secret_key: str = setting("", "Django's secret key; empty: from secret_key_file")
    secret_key_file: Path | None = setting(None, "file with it; default: secrets/django in home")
    key_pepper: str = setting("", "pepper of the API key digests; empty: from key_pepper_file")
    key_pepper_file: Path | None = setting(None, "file with it; default: secrets/pepper in home")
    api_key: str = setting("", "the bootstrap API key to use instead of a random one")
    log_level: str = setting("INFO", "least level that is logged", choices=LOG_LEVELS)
    log_config: Path | None = setting(
        None, "JSON file for logging.config.dictConfig of the web, agent and settler processes"
    )
    log_json: bool | None = setting(None, "log as JSON; default: unless stderr is a terminal")
    server: str = setting(
        "uvicorn", "HTTP server of the web processes", choices=("uvicorn", "daphne")
    )
    api_server_count: int | None = setting(
        None, "web processes; default 1 on up to 4 cores, else cores / 4 up to 8", low=1, high=64
    )
    shutdown_timeout: int = setting(120, "seconds open requests may still take", low=1, high=3600)
    lame_duck: int = setting(
        0, "seconds a stopping server still accepts while /readyz says 503", low=0, high=600
    )
    metrics_networks: str = setting(
        "127.0.0.0/8,::1/128",
        "networks that may read /metrics without a key, unless through a proxy",
    )
    trusted_proxies: str = setting(
        "127.0.0.0/8,::1/128",
        "networks of proxies whose X-Forwarded-For names the address that asks (uvicorn only)",
    )
    host_engines: int = setting(
        0, "engines the agent of one host starts at most; 0: all that are wanted", low=0, high=64
    )
    usage_retention_days: int = setting(90, "usage rows are kept this long; hours stay", low=1)

    def __post_init__(self) -> None:
        """Relations and forms that a range cannot express. Raises `SettingError`."""
        _check_url("PAGODA_DATABASE_URL", self.database_url, ("postgres", "postgresql"))
        _check_url("PAGODA_REDIS_URL", self.redis_url, ("redis", "rediss", "unix"))
        _check_url("PAGODA_PUBLIC_URL", self.public_url, ("http", "https"))
        if self.ssl_certfile is not None and self.server == "daphne":
            raise SettingError("PAGODA_SSL_CERTFILE needs PAGODA_SERVER=uvicorn.")
        if self.lame_duck and self.server == "daphne":
            raise SettingError("PAGODA_LAME_DUCK needs PAGODA_SERVER=uvicorn.")
        if (self.ssl_keyfile is None) != (self.ssl_certfile is None):
            raise SettingError("PAGODA_SSL_KEYFILE and PAGODA_SSL_CERTFILE belong together.")
        _check_networks("PAGODA_METRICS_NETWORKS", self.metrics_networks)
        _check_networks("PAGODA_TRUSTED_PROXIES", self.trusted_proxies)

    @property
    def embedded(self) -> bool:
        """SQLite in `home`: migrations run by themselves and bootstrap.json is written."""
        return not self.database_url

    @property
    def listen_url(self) -> str:
        """Host and port as they are, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.ssl_certfile else 'http'}://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """Root of the site as clients write it, without a slash at the end."""
        return self.public_url.rstrip("/") or self.listen_url

    @property
    def web_processes(self) -> int:
        cores = os.cpu_count() or 1
        return self.api_server_count or (1 if cores <= 4 else min(8, cores // 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalSettings:
    """Names the launcher hands to its children; nobody sets them by hand."""

    engine_command: str = setting("engine", "module of the engine daemon: engine or engine.testing")


def server_settings(environ: Mapping[str, str] | None = None) -> ServerSettings:
    """Read and check the environment. Raises `SettingError` naming the key and what is right."""
    env = os.environ if environ is None else environ
    _refuse_service_links(env)
    refuse_unknown(_known_classes(), env)
    return read(ServerSettings, env)


def internal_settings(environ: Mapping[str, str] | None = None) -> InternalSettings:
    return read(InternalSettings, os.environ if environ is None else environ)


def _known_classes() -> list[type]:
    classes: list[type] = []
    for path in SETTINGS_CLASSES:
        module, _, name = path.partition(":")
        classes.append(getattr(importlib.import_module(module), name))
    return classes


def _refuse_service_links(env: Mapping[str, str]) -> None:
    """Kubernetes sets PAGODA_PORT=tcp://… in pods beside a Service called `pagoda`."""
    if "://" in env.get("PAGODA_PORT", ""):
        raise SettingError(
            f"PAGODA_PORT={env['PAGODA_PORT']!r} was set by Kubernetes service links. Set "
            "enableServiceLinks: false in the pod, or give PAGODA_PORT a port number."
        )


def _check_networks(name: str, value: str) -> None:
    for text in filter(None, value.split(",")):
        try:
            ipaddress.ip_network(text.strip())
        except ValueError as error:
            raise SettingError(f"{name}: {error}.") from None


def _check_url(name: str, value: str, schemes: tuple[str, ...]) -> None:
    if not value:
        return
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise SettingError(f"{name} is not a URL: {error}.") from None
    if parts.scheme not in schemes or not (parts.netloc or parts.path):
        raise SettingError(f"{name} must start with {' or '.join(s + '://' for s in schemes)}.")
