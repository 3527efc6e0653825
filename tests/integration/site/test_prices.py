"""Prices are given in whole money per million tokens and kept in millionths."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from apps.api.models import AuditEvent, PriceVersion

pytestmark = pytest.mark.django_db
PRICE = {
    "model": "m",
    "starts_at_0": "2026-01-01",
    "starts_at_1": "00:00:00",
    "input_price": "0.15",
    "cached_price": "0.075",
    "output_price": "1250.5",
}


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


def test_price_is_kept_exactly_and_shown_as_it_was_given(staff: Client) -> None:
    staff.post(reverse("admin:api_priceversion_add"), PRICE)
    row = PriceVersion.objects.get()
    assert (row.input_micros, row.cached_micros, row.output_micros) == (
        150_000, 75_000, 1_250_500_000,
    )  # fmt: skip
    page = staff.get(reverse("admin:api_priceversion_changelist")).content.decode()
    for text in ("0.15", "0.075", "1,250.5"):
        assert text in page
    assert AuditEvent.objects.get(action="price.add").actor == "boss"


@pytest.mark.parametrize("price", ["-1", "0.0000001", "dear", ""])
def test_impossible_price_is_refused_beside_its_field(price: str, staff: Client) -> None:
    reply = staff.post(reverse("admin:api_priceversion_add"), PRICE | {"input_price": price})
    assert "input_price" in reply.context["adminform"].form.errors
    assert not PriceVersion.objects.exists()
