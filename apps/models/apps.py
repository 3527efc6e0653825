"""The app of served models. Its label is `catalog`: `models` would read badly everywhere."""

from __future__ import annotations

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    name = "apps.models"
    label = "catalog"
    verbose_name = "Serve"
