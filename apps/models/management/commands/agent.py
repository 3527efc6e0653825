"""`manage.py agent`: runs the engines of this host."""

from __future__ import annotations

import argparse
import os
import socket
import time
from typing import Any

import redis
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from apps.models.agent.loop import Agent, AgentSettings
from apps.models.agent.run import run
from inference_site.config import internal_settings
from inference_site.redis import redis_url


class Command(BaseCommand):
    """Starts and stops engines until actual state equals desired state."""

    help = "Run the agent of this host: it starts, watches and stops the engines."

    requires_system_checks = []  # `check` is for people; this starts often

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tell-fd", type=int, help="pipe for what `prepare` answers")
        words = "run `prepare` with the arguments that follow, then go on as the agent"
        parser.add_argument("--prepare", nargs=argparse.REMAINDER, help=words)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["prepare"] is not None:
            with os.fdopen(options["tell_fd"], "w") as tell:
                call_command("prepare", *options["prepare"], stdout=tell)
        url = redis_url()
        agent = Agent(
            settings=AgentSettings(
                host=socket.gethostname(),
                pid=os.getpid(),
                redis_url=url,
                log_folder=settings.PAGODA.home / "logs",
                engine_module=internal_settings().engine_command,
                drain_s=settings.PAGODA.shutdown_timeout,
                max_engines=settings.PAGODA.host_engines,
            ),
            client=redis.Redis.from_url(url, socket_connect_timeout=2),
            clock=time.monotonic,
        )
        run(agent)
