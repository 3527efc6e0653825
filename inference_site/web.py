"""One web process: `python -m inference_site.web --fd N` serves on an inherited socket.

Several of these share the socket; the kernel hands each new connection to one that accepts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys

APPLICATION = "inference_site.asgi:application"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m inference_site.web")
    parser.add_argument("--fd", type=int, required=True, help="inherited listening socket")
    parser.add_argument("--server", choices=("uvicorn", "daphne"), default="uvicorn")
    parser.add_argument("--drain-s", type=int, default=120, help="open requests may take this long")
    parser.add_argument("--certificate", help="PEM file; with it the socket speaks TLS")
    parser.add_argument("--private-key", help="PEM file of the certificate")
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_site.settings")
    if given.server == "uvicorn":
        _uvicorn(given.fd, given.drain_s, given.certificate, given.private_key)
    else:
        _daphne(given.fd, given.drain_s)
    return 0


def _uvicorn(fd: int, drain_s: int, certificate: str | None, private_key: str | None) -> None:
    import uvicorn

    from inference_site.config import server_settings
    from inference_site.http_protocol import BoundedHeadProtocol
    from inference_site.leaving import LEAVING

    class Server(uvicorn.Server):
        """SIGUSR1 announces the end: see `inference_site.leaving`."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            state = self.lifespan.state
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGUSR1, state.__setitem__, LEAVING, True
            )

    trusted_proxies = server_settings().trusted_proxies
    config = uvicorn.Config(
        APPLICATION,
        loop="uvloop",
        http=BoundedHeadProtocol,
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # small frames: it would cost more than it saves
        lifespan="on",
        log_config=None,  # Django's LOGGING holds for the process
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=trusted_proxies,
        timeout_keep_alive=75,  # above the 60 s of common proxies, so that they close first
        timeout_graceful_shutdown=drain_s,
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
    )
    Server(config).run(sockets=[socket.socket(fileno=fd)])


def _daphne(fd: int, drain_s: int) -> None:
    """Daphne has no lifespan and ends open requests at SIGTERM: `drain_s` cannot be kept."""
    import django

    django.setup()
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.server import Server

    from inference_site.asgi import application

    Server(
        application,
        endpoints=build_endpoint_description_strings(file_descriptor=fd),
        server_name="",
        http_timeout=None,
        application_close_timeout=drain_s,
    ).run()


if __name__ == "__main__":
    sys.exit(main())
