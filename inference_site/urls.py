"""Django's routes: the admin and what `apps.api` serves through DRF.

Generation routes, health and metrics are answered before Django: see `inference_site/asgi.py`.
"""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
