"""How the admin looks: name, colours, style sheet and the menu at the side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

# Menu group → (title, icon of Material Symbols, name of the view, permission it needs).
MENU: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "": (
        ("Operate", "monitor_heart", "admin:index", ""),
        ("Live engine", "bolt", "console:live", "catalog.view_engineinstance"),
        ("Playground", "forum", "console:playground", "api.add_apikey"),
    ),
    "Serve": (
        (
            "Models",
            "deployed_code",
            "admin:catalog_servedmodel_changelist",
            "catalog.view_servedmodel",
        ),
        ("Adapters", "extension", "admin:lora_adapter_changelist", "lora.view_adapter"),
        (
            "Engines",
            "memory",
            "admin:catalog_engineinstance_changelist",
            "catalog.view_engineinstance",
        ),
        ("Hosts", "dns", "admin:catalog_host_changelist", "catalog.view_host"),
    ),
    "Access": (
        ("API keys", "key", "admin:api_apikey_changelist", "api.view_apikey"),
        ("Owners", "group", "admin:api_owner_changelist", "api.view_owner"),
        ("Logins", "person", "admin:auth_user_changelist", "auth.view_user"),
        ("Audit log", "history", "admin:api_auditevent_changelist", "api.view_auditevent"),
    ),
    "Usage": (
        ("Usage", "bar_chart", "console:usage", "usage.view_usagerecord"),
        ("Request log", "receipt_long", "console:requests", "usage.view_usagerecord"),
        ("Prices", "payments", "admin:api_priceversion_changelist", "api.view_priceversion"),
    ),
}
# Jade. 600 on white and white on 600 have a contrast above 5; so has 500 on the dark ground.
PRIMARY = {
    "50": "oklch(98% .014 185)",
    "100": "oklch(95.3% .032 185)",
    "200": "oklch(90.5% .06 185)",
    "300": "oklch(84.5% .09 185)",
    "400": "oklch(78% .105 186)",
    "500": "oklch(68% .105 187)",
    "600": "oklch(48.5% .082 190)",
    "700": "oklch(42.5% .07 191)",
    "800": "oklch(37.5% .058 192)",
    "900": "oklch(33% .047 193)",
    "950": "oklch(25% .04 194)",
}


def unfold_config() -> dict[str, Any]:
    return {
        "SITE_TITLE": "Pagoda",
        "SITE_HEADER": "Pagoda",
        "SITE_SUBHEADER": "Inference service",
        "SITE_SYMBOL": "temple_buddhist",
        "SITE_URL": None,
        "SHOW_HISTORY": True,
        "SHOW_VIEW_ON_SITE": False,
        "SITE_FAVICONS": [
            {
                "rel": "icon",
                "type": "image/svg+xml",
                "href": lambda request: static("pagoda/favicon.svg"),
            }
        ],
        "COLORS": {"primary": PRIMARY, "font": {"subtle-light": "var(--color-base-600)"}},
        "STYLES": [lambda request: static("pagoda/admin.css")],
        "SCRIPTS": [lambda request: static("pagoda/admin.js")],
        "DASHBOARD_CALLBACK": "apps.models.dashboard.dashboard_context",
        "COMMAND": {
            "search_models": ["catalog.servedmodel", "lora.adapter", "api.apikey", "api.owner"]
        },
        "SIDEBAR": {
            "show_search": True,
            "command_search": True,
            "show_all_applications": False,
            "navigation": [
                {
                    "title": title,
                    "separator": bool(title),
                    "items": [_item(*item) for item in items],
                }
                for title, items in MENU.items()
            ],
        },
    }


def _item(title: str, icon: str, view: str, permission: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(view),
        "permission": _may(permission),
    }


def _may(permission: str) -> Callable[[HttpRequest], bool]:
    """Whether the person sees the entry: the page itself asks again."""
    return lambda request: not permission or request.user.has_perm(permission)
