"""Addresses of the usage pages, below /admin/."""

from __future__ import annotations

from django.urls import path

from apps.usage import views

urlpatterns = [
    path("usage/", views.usage, name="usage"),
    path("usage/export/", views.usage_export, name="usage-export"),
    path("requests/", views.requests, name="requests"),
    path("requests/export/", views.requests_export, name="log-export"),
    path("requests/<str:rid>/", views.request_detail, name="request"),
]
