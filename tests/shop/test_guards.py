"""What guards the shop is kept where strangers cannot push it out."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import caches
from django.db import connection
from django.test import Client

from payments.rate_limits import DjangoCache

pytestmark = pytest.mark.django_db


def test_what_strangers_can_ask_for_leaves_guards_alone(
    client, product, settings, caches_in_memory
):
    settings.LIMITS = {"look-ups": "3/hour"}
    form = {"code": "AAAA-AAAA", "email": "buyer@example.com"}
    answers = [client.post("/find/", form).status_code for _ in range(4)]
    assert answers == [404, 404, 404, 429]
    before = caches_in_memory("default") | caches_in_memory("limits")

    for number in range(300):
        Client().get(f"/sitemap-shelf.xml?x={number}")
        Client().post(f"/basket/{product.pk}/", {"x": number})

    assert caches_in_memory("default") | caches_in_memory("limits") == before
    assert client.post("/find/", form).status_code == 429


def test_a_full_cache_of_strangers_pushes_out_no_count(settings):
    counts = DjangoCache()
    counts.incr("a-count", 3_600)
    caches["default"].set("spare", "an address")
    strangers = caches["strangers"]

    for number in range(settings.CACHE_ENTRIES["strangers"] + 100):
        strangers.set(f"visitor-{number}", "x", 60)

    assert counts.get("a-count") == 1
    assert caches["default"].get("spare") == "an address"


@pytest.mark.django_db(transaction=True)
def test_counts_of_many_at_once_are_all_counted(client):
    counts = DjangoCache()

    def count(_):
        try:
            return counts.incr("many", 3_600)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as crowd:
        list(crowd.map(count, range(64)))

    assert counts.get("many") == 64
