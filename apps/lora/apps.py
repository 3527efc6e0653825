"""The app of adapters."""

from __future__ import annotations

from django.apps import AppConfig


class LoraConfig(AppConfig):
    name = "apps.lora"
    label = "lora"
    verbose_name = "Serve"
