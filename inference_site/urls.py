"""Django's routes: the admin and what `apps.api` serves through DRF.

Generation routes, health and metrics are answered before Django: see `inference_site/asgi.py`.
"""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from apps.models.dashboard import operate_live

admin.autodiscover()
urlpatterns = [
    path("admin/", include("inference_site.console_urls")),
    path("admin/operate/live/", admin.site.admin_view(operate_live), name="admin_operate_live"),
    path("admin/", admin.site.urls),
    path("account/", include("apps.api.account")),
    path("", include("apps.api.urls")),
]
handler400 = "apps.api.errors.handler400"
handler403 = "apps.api.errors.handler403"
handler404 = "apps.api.errors.handler404"
handler500 = "apps.api.errors.handler500"
