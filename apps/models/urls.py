"""Addresses of the live engine page, below /admin/."""

from __future__ import annotations

from django.urls import path

from apps.models import live

urlpatterns = [
    path("live/", live.live, name="live"),
    path("live/cancel/", live.cancel, name="live-cancel"),
    path("live/drain/", live.drain, name="live-drain"),
    path("live/resume/", live.resume, name="live-resume"),
]
