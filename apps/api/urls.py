"""Routes of the DRF views. Generation routes are in `apps.api.routing`."""

from __future__ import annotations

from django.conf import settings
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView

from apps.api import engine_views, usage_views, views
from apps.api import management_views as management

urlpatterns = [
    path("v1/models", views.ModelList.as_view()),
    path("v1/models/<path:name>", views.ModelCard.as_view()),
    path("tokenize", views.Tokenize.as_view()),
    path("detokenize", views.Detokenize.as_view()),
    path("version", views.Version.as_view()),
    path("load", engine_views.Load.as_view()),
    path("sleep", engine_views.Sleep.as_view()),
    path("wake_up", engine_views.WakeUp.as_view()),
    path("is_sleeping", engine_views.IsSleeping.as_view()),
    path("reset_prefix_cache", engine_views.ResetPrefixCache.as_view()),
    path("start_profile", engine_views.StartProfile.as_view()),
    path("stop_profile", engine_views.StopProfile.as_view()),
    path("api/keys", management.KeyList.as_view()),
    path("api/keys/<str:public_id>", management.KeyDetail.as_view()),
    path("api/keys/<str:public_id>/revoke", management.KeyRevoke.as_view()),
    path("api/keys/<str:public_id>/rotate", management.KeyRotate.as_view()),
    path("api/usage", usage_views.UsageSums.as_view()),
    path("api/usage/requests", usage_views.UsageRequests.as_view()),
    path("api/models", management.ServedModels.as_view()),
    re_path(
        r"^api/models/(?P<name>.+)/(?P<action>load|unload|restart)$",
        management.ServedModelAction.as_view(),
    ),
    path("", include("apps.lora.urls")),
]
if not settings.PAGODA.disable_docs:
    urlpatterns += [
        path("openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
        path("docs", SpectacularSwaggerView.as_view(url_name="openapi")),
    ]
