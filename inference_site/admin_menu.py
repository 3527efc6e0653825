"""How the admin looks: name, style sheet and the menu at the side."""

from __future__ import annotations

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy

# Menu group → (title, icon of Material Symbols, admin view).
MENU = {
    "Serve": (
        ("Models", "deployed_code", "catalog_servedmodel"),
        ("Engines", "memory", "catalog_engineinstance"),
        ("Hosts", "dns", "catalog_host"),
    ),
    "Access": (
        ("API keys", "key", "api_apikey"),
        ("Owners", "group", "api_owner"),
        ("Prices", "payments", "api_priceversion"),
        ("Audit trail", "history", "api_auditevent"),
        ("Logins", "person", "auth_user"),
    ),
    "Usage": (
        ("Requests", "receipt_long", "usage_usagerecord"),
        ("Hours", "schedule", "usage_usagehour"),
        ("Days", "calendar_month", "usage_usageday"),
    ),
}


def unfold_config() -> dict[str, Any]:
    return {
        "SITE_TITLE": "Pagoda",
        "SITE_HEADER": "Pagoda",
        "SITE_SUBHEADER": "Inference service",
        "SITE_SYMBOL": "temple_buddhist",
        "SHOW_HISTORY": True,
        "SHOW_VIEW_ON_SITE": False,
        "STYLES": [lambda request: static("pagoda/admin.css")],
        "DASHBOARD_CALLBACK": "apps.models.dashboard.dashboard_context",
        "SIDEBAR": {
            "show_search": False,
            "show_all_applications": False,
            "navigation": [
                {"title": title, "separator": True, "items": [_item(*item) for item in items]}
                for title, items in MENU.items()
            ],
        },
    }


def _item(title: str, icon: str, view: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{view}_changelist")}
