"""Routes of adapters. Names may hold slashes, as those of models."""

from __future__ import annotations

from django.urls import path, re_path

from apps.lora import views
from apps.lora.services import ACTIONS

urlpatterns = [
    path("v1/load_lora_adapter", views.LoadLoraAdapter.as_view()),
    path("v1/unload_lora_adapter", views.UnloadLoraAdapter.as_view()),
    path("api/adapters", views.AdapterList.as_view()),
    re_path(
        rf"^api/adapters/(?P<name>.+)/(?P<action>{'|'.join(ACTIONS)})$",
        views.AdapterAction.as_view(),
    ),
    re_path(r"^api/adapters/(?P<name>.+)$", views.AdapterDetail.as_view()),
]
