"""People who only own keys: they see and manage their own, and nothing of others."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.api.account import MOST_KEYS
from apps.api.models import ApiKey, AuditEvent, Owner
from apps.api.services import KeyLimits, key_create, key_edit
from apps.usage.models import UsageRecord
from apps.usage.store import rows_add
from tests.integration.site.usage_rows import made_rows

pytestmark = pytest.mark.django_db
MOST_QUERIES = 12
PAGES = ("account:usage", "account:requests", "account:keys")


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice", password="correct horse battery")


@pytest.fixture
def key(alice: User) -> ApiKey:
    owner = Owner.objects.create(name="alice", user=alice)
    limits = KeyLimits(rpm=60, parallel=2)
    scopes = ["inference", "management"]
    return key_create(
        owner=owner, name="first", scopes=scopes, allowed_models=["m"], limits=limits
    )[0]


@pytest.fixture
def own(client: Client, alice: User, key: ApiKey) -> Client:
    client.force_login(alice)
    return client


@pytest.fixture
def rows(key: ApiKey) -> list[UsageRecord]:
    """Rows of strangers, and five of Alice's."""
    made = made_rows(timezone.now(), 60)
    for row in made[:5]:
        row.key_id, row.key_name = key.public_id, "first"
        row.owner_id, row.owner_name = str(key.owner_id), "alice"
    rows_add(made)
    return made[:5]


@pytest.mark.parametrize("page", PAGES)
def test_pages_need_a_login_and_few_queries(
    page: str, own: Client, rows: list[UsageRecord],
    django_assert_max_num_queries: type[CaptureQueriesContext],
) -> None:  # fmt: skip
    with django_assert_max_num_queries(MOST_QUERIES):
        assert own.get(reverse(page)).status_code == 200
    reply = Client().get(reverse(page))
    assert reply.status_code == 302
    assert reply.headers["Location"].startswith(reverse("account:login"))


def test_login_leads_to_own_usage(client: Client, alice: User) -> None:
    data = {"username": "alice", "password": "correct horse battery"}
    reply = client.post(reverse("account:login"), data)
    assert reply.headers["Location"] == reverse("account:usage")
    assert client.get(reverse("admin:index")).status_code == 302


def test_usage_and_log_hold_own_requests_only(own: Client, rows: list[UsageRecord]) -> None:
    page = own.get(reverse("account:usage"), {"range": "30d"}).content.decode()
    assert re.search(r'aria-label="Requests 5, show requests"', page)
    log = own.get(reverse("account:requests")).content.decode()
    assert set(re.findall(r'data-rid="([^"]+)"', log)) == {row.rid for row in rows}
    for query in ({"key": "kaaaaaaa"}, {"owner": "bob"}):
        assert "No request matches." in own.get(reverse("account:requests"), query).content.decode()


def test_detail_of_a_strangers_request_is_not_there(own: Client, rows: list[UsageRecord]) -> None:
    assert own.get(reverse("account:request", args=[rows[0].rid])).status_code == 200
    stranger = UsageRecord.objects.exclude(rid__in=[row.rid for row in rows]).first()
    assert stranger is not None
    assert own.get(reverse("account:request", args=[stranger.rid])).status_code == 404


def test_new_key_has_no_more_than_the_one_it_is_like(own: Client, key: ApiKey) -> None:
    page = own.post(reverse("account:keys"), {"name": "ci", "like": key.pk, "rpm": 7})
    made = ApiKey.objects.get(name="ci")
    assert f"pgd_{made.public_id}_" in page.content.decode()
    assert (made.scopes, made.allowed_models) == (["inference"], ["m"])
    assert (made.rpm, made.parallel, made.owner_id) == (7, 2, key.owner_id)
    assert AuditEvent.objects.filter(action="key.create", actor="alice").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rpm": 61}, "At most 60: that is what this key may."),
        ({"parallel": 0}, "greater than or equal to 1"),
        ({"name": ""}, "This field is required."),
        ({"name": "a\u0000b"}, "Null characters are not allowed."),
        ({"like": 0}, "Select a valid choice."),
    ],
)
def test_bad_key_is_refused_beside_its_field(
    fields: dict[str, object], words: str, own: Client, key: ApiKey
) -> None:
    reply = own.post(reverse("account:keys"), {"name": "x", "like": key.pk} | fields)
    assert words in reply.content.decode()
    assert ApiKey.objects.count() == 1


def test_budget_is_not_doubled_by_a_second_key(own: Client, key: ApiKey) -> None:
    key_edit(key=key, budget_tokens=1000)
    page = own.post(reverse("account:keys"), {"name": "x", "like": key.pk, "budget_tokens": 1})
    assert "a second key would add to it" in page.content.decode()
    assert ApiKey.objects.count() == 1


def test_key_of_a_stranger_is_neither_model_nor_revoked(own: Client) -> None:
    other, _ = key_create(owner=Owner.objects.create(name="bob"), name="bobs")
    page = own.post(reverse("account:keys"), {"name": "x", "like": other.pk})
    assert "Select a valid choice." in page.content.decode()
    assert own.post(reverse("account:key-revoke", args=[other.public_id])).status_code == 404
    other.refresh_from_db()
    assert other.usable


def test_own_key_is_revoked_by_a_post(own: Client, key: ApiKey) -> None:
    address = reverse("account:key-revoke", args=[key.public_id])
    assert own.get(address).status_code == 405
    assert own.post(address).status_code == 302
    key.refresh_from_db()
    assert not key.usable


def test_number_of_keys_is_bounded(own: Client, key: ApiKey) -> None:
    for n in range(MOST_KEYS - 1):
        key_create(owner=key.owner, name=f"k{n}", expires_at=timezone.now() + timedelta(days=1))
    page = own.post(reverse("account:keys"), {"name": "x", "like": key.pk})
    assert f"You hold {MOST_KEYS} keys." in page.content.decode()
