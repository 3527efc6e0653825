"""Words and numbers are the same on every page of the admin."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.api.models import AuditEvent
from apps.lora.models import Adapter
from apps.models.models import Desired, ServedModel
from apps.models.templatetags.pagoda import ago, change

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.fixture
def model() -> ServedModel:
    return ServedModel.objects.create(name="tiny", source="/tmp", desired=Desired.UNLOADED)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.123, "+12 % against the day before"),
        (-0.4, "\N{MINUS SIGN}40 % against the day before"),
        (331.4, "332 times the day before"),
    ],
)
def test_a_change_is_told_in_words(share: float, words: str) -> None:
    assert change(share, "the day before") == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "just now"), (130, "2\xa0minutes ago"), (7300, "2\xa0hours ago")]
)
def test_a_moment_ago(seconds: int, words: str) -> None:
    assert ago(timezone.now() - timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("view", "trail"),
    [
        ("admin:api_auditevent_changelist", ["Access", "Audit log"]),
        ("admin:api_priceversion_changelist", ["Usage", "Prices"]),
        ("admin:auth_user_changelist", ["Access", "Logins"]),
    ],
)
def test_pages_are_called_as_in_the_menu(view: str, trail: list[str], staff: Client) -> None:
    assert _trail(staff.get(reverse(view)).content.decode()) == trail


def test_name_of_a_thing_stands_in_the_heading_as_it_is(staff: Client, model: ServedModel) -> None:
    page = staff.get(reverse("admin:catalog_servedmodel_change", args=[model.pk])).content.decode()
    assert _trail(page) == ["Serve", "Models", "tiny"]


def test_moments_are_written_in_one_way(staff: Client) -> None:
    AuditEvent.objects.all().delete()
    event = AuditEvent.objects.create(actor="boss", action="key.create", subject="x")
    page = staff.get(reverse("admin:api_auditevent_changelist")).content.decode()
    assert f"{event.at:%-d %b %Y %H:%M:%S}" in page


def test_empty_list_says_whether_something_was_searched(staff: Client) -> None:
    page = reverse("admin:api_owner_changelist")
    assert "Nothing here yet." in staff.get(page).content.decode()
    assert "Nothing matches." in staff.get(page, {"q": "nobody"}).content.decode()


def test_page_of_something_deleted_stops_asking(staff: Client, model: ServedModel) -> None:
    adapter = Adapter.objects.create(name="pirate", base=model)
    places = {
        "model": reverse("admin:catalog_servedmodel_live", args=[model.pk]),
        "adapter": reverse("admin:lora_adapter_live", args=[adapter.pk]),
    }
    for place in places.values():
        assert staff.get(place).status_code == 200
    adapter.delete()
    model.delete()
    for what, place in places.items():
        reply = staff.get(place)
        assert reply.status_code == 286  # htmx's word for: enough
        assert f"This {what} was deleted." in reply.content.decode()
    staff.logout()
    assert staff.get(places["model"]).status_code == 302


def _trail(page: str) -> list[str]:
    """Texts of the heading's parts."""
    return re.findall(r'min-w-0 truncate tracking-tight[^"]*">([^<]*)<', page)
