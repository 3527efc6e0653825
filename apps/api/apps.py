"""The app of keys and the endpoint; the admin calls its pages by what they are for."""

from __future__ import annotations

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "apps.api"
    verbose_name = "Access"

    def ready(self) -> None:
        from apps.api.login_audit import watch_logins  # needs the models

        watch_logins()
