"""`python -m inference_site.worker`: background jobs and their clock in one process.

The same as `celery -A inference_site worker -B` with threads in place of forked children: jobs
that need limits run in children of their own, and a killed worker leaves nothing behind.
"""

from __future__ import annotations

import os
import sys
import warnings

THREADS = 2


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_site.settings")
    from celery.beat import EmbeddedService, Scheduler
    from celery.platforms import SecurityWarning

    # It warns of root because pickled jobs would be code; ours are JSON.
    warnings.simplefilter("ignore", SecurityWarning)
    from inference_site.celery import app

    worker = app.Worker(
        pool="threads",
        concurrency=THREADS,
        without_gossip=True,  # nobody to talk to: one worker per installation is the rule
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    # The setting beat_scheduler does not reach an embedded clock, whose own keeps a pickle on disk.
    clock = EmbeddedService(app, thread=True, scheduler_cls=Scheduler)
    clock.start()
    worker.start()
    clock.stop()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
