"""Background jobs: never tokens, never usage rows' writing. `serve` starts the worker
(`inference_site.worker`); by hand it is `celery -A inference_site worker -B`.

The broker is the same Redis, database 1, unless PAGODA_BROKER_URL names another.
"""

from __future__ import annotations

import os

from celery import Celery
from celery.schedules import crontab
from django.conf import settings

from inference_site.broker import broker_url

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_site.settings")

app = Celery("pagoda", broker=broker_url(settings.PAGODA))
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    task_acks_late=True,  # every job is idempotent: one that died with its worker runs again
    task_time_limit=3600,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    timezone="UTC",
    beat_scheduler="celery.beat:Scheduler",  # the default one keeps a pickle on disk
    beat_schedule={
        "alerts": {"task": "alerts.check", "schedule": 30.0},
        "usage-check": {"task": "usage.check", "schedule": crontab(minute=7)},
        "lora-sweep": {"task": "lora.sweep", "schedule": 60.0},
        "usage-rebuild": {
            "task": "usage.rebuild",
            "schedule": crontab(hour=2, minute=47),
        },
        "usage-retention": {
            "task": "usage.retention",
            "schedule": crontab(hour=3, minute=17),
        },
    },
)
app.autodiscover_tasks()
