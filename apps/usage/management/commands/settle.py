"""`manage.py settle`: usage events into the database; judge and reconciler beside it."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from apps.usage.judge import Judge
from apps.usage.settler import Settler
from inference_site.redis import redis_url


class Command(BaseCommand):
    help = "Store the usage of ended requests, and end those whose engine died."

    def handle(self, *args: Any, **options: Any) -> None:
        url = redis_url()
        settler, judge = Settler(url), Judge(url)

        def stop(number: int, frame: object) -> None:
            settler.stop()
            judge.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        thread = threading.Thread(target=judge.run, name="judge", daemon=True)
        thread.start()
        settler.run()
        judge.stop()
        thread.join(timeout=3)
