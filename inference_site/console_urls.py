"""Pagoda's own pages inside the admin, in the namespace `console`."""

from __future__ import annotations

from django.urls import include, path

app_name = "console"
urlpatterns = [
    path("", include("apps.usage.urls")),
    path("", include("apps.models.urls")),
    path("", include("apps.api.playground")),
]
