"""The negative control: a settler that acknowledges before it stores. It must lose rows."""

from __future__ import annotations

import time

import django

django.setup()

from apps.usage.settler import Settler  # noqa: E402
from inference_site.redis import redis_url  # noqa: E402


class AcknowledgesFirst(Settler):
    def _settle(self, entries):
        if entries:
            self._acknowledge([entry_id for entry_id, _ in entries])
            time.sleep(0.2)  # as long as a busy database takes for its commit
        super()._settle(entries)


if __name__ == "__main__":
    AcknowledgesFirst(redis_url()).run()
