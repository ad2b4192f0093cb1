"""How often one visitor may knock, and how many unpaid invoices there may be."""

import re
import time
from datetime import timedelta

import pytest
import time_machine
from django.core.cache.backends.locmem import LocMemCache
from django.test import Client
from django.utils import timezone
from dotenv import dotenv_values
from limits import parse_many

from payments import rate_limits
from payments.models import Invoice, PaymentAttempt, Transaction
from tests.conftest import txid

HOME = "198.51.100.20"


@pytest.fixture
def limit(settings):
    """Sets the rates of these doors; all others have none."""

    def limit(**rates):
        settings.LIMITS = {name.replace("_", "-"): rate for name, rate in rates.items()}

    return limit


@pytest.fixture
def clock(monkeypatch):
    """Time that is shifted by hand, with a cache that goes by it as Redis does not."""
    kept = LocMemCache("limits", {})
    monkeypatch.setattr(rate_limits, "counts", lambda: kept)
    kept.clear()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        yield clock


@pytest.fixture
def shopper():
    """A browser of its own, at this address."""
    return lambda address=HOME: Client(REMOTE_ADDR=address)


@pytest.fixture
def buy(service, make_product):
    """Buys something that nobody has bought before."""

    def buy(browser):
        return browser.post(f"/payments/create/{make_product().pk}/")

    return buy


def new_addresses(service) -> int:
    return sum("new_address" in call.request.url for call in service.calls)


# Rates


def test_one_purchase_too_many_is_told_when_to_come_back(limit, buy, shopper, service):
    limit(purchases="2/hour")

    answers = [buy(shopper()) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [302, 302, 429]
    assert 3590 <= int(answers[2]["Retry-After"]) <= 3600
    assert "60 minutes" in answers[2].content.decode()
    assert new_addresses(service) == 2


def test_after_the_time_it_is_sold_again(limit, buy, shopper, clock):
    limit(purchases="1/minute")
    buy(shopper())
    refused = buy(shopper())

    clock.shift(int(refused["Retry-After"]) + 1)

    assert refused.status_code == 429
    assert buy(shopper()).status_code == 302


def test_the_shops_own_cache_forgets_in_time_as_well(limit, buy, shopper):
    limit(purchases="1/second")
    buy(shopper())
    deadline = time.monotonic() + 30

    while buy(shopper()).status_code == 429:
        assert time.monotonic() < deadline


def test_several_rates_hold_together(limit, buy, shopper, clock):
    limit(purchases="2/minute; 3/hour")
    first = [buy(shopper()).status_code for _ in range(3)]
    clock.shift(61)
    second = [buy(shopper()).status_code for _ in range(2)]

    assert (first, second) == ([302, 302, 429], [302, 429])


def test_other_addresses_go_on_buying(limit, buy, shopper):
    limit(purchases="1/hour")
    buy(shopper())

    assert buy(shopper()).status_code == 429
    assert buy(shopper("198.51.100.21")).status_code == 302


def test_a_household_of_ipv6_counts_as_one(limit, buy, shopper):
    limit(purchases="1/hour")
    buy(shopper("2001:db8:1:2::7"))

    assert buy(shopper("2001:db8:1:2:ffff::8")).status_code == 429
    assert buy(shopper("2001:db8:1:3::7")).status_code == 302


def test_a_browser_is_stopped_before_its_neighbours(limit, buy, shopper):
    limit(purchases="4/hour", purchases_per_visitor="1/hour")
    busy = shopper()

    clicks = [buy(busy).status_code for _ in range(9)]

    assert clicks == [302, 302] + [429] * 7, "the first click has no session to be counted by"
    assert [buy(shopper()).status_code for _ in range(3)] == [302, 302, 429]


def test_claiming_another_address_does_not_help(limit, buy, shopper):
    limit(purchases="1/hour")
    buy(shopper())
    liar = Client(REMOTE_ADDR=HOME, headers={"X-Forwarded-For": "203.0.113.9"})

    assert buy(liar).status_code == 429


def test_looking_is_not_counted(limit, client, invoice):
    limit(quotes="1/hour", purchases="1/hour")

    answers = [client.get(f"{invoice.get_absolute_url()}quote/").status_code for _ in range(3)]

    assert answers == [405, 405, 405]
    assert client.post(f"{invoice.get_absolute_url()}quote/").status_code == 302


def test_an_address_for_mail_given_with_a_purchase_is_counted(limit, client, make_product, service):
    limit(e_mails="2/hour")

    def buy(email):
        return client.post(f"/payments/create/{make_product().pk}/", {"email": email}).status_code

    assert [buy(email) for email in ("a@example.com", "", "nobody", "b@example.com")] == [302] * 4
    assert buy("c@example.com") == 429
    assert not Invoice.objects.filter(email="c@example.com").exists()
    assert buy("") == 302


def test_new_prices_have_a_limit_of_their_own(limit, client, invoice):
    limit(quotes="1/hour", purchases="1/hour")

    answers = [client.post(f"{invoice.get_absolute_url()}quote/") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 429]
    assert client.get(invoice.get_absolute_url()).status_code == 200


def test_callbacks_know_no_limit(limit, call_back, invoice):
    limit(purchases="1/hour", quotes="1/hour")

    answers = [call_back(invoice, number=number, value=100) for number in range(30)]

    assert {answer.status_code for answer in answers} == {200}


def test_twenty_shoppers_behind_one_address_buy_unhindered(settings, buy, shopper):
    """With the limits of .env.example, each of them three times within an hour."""
    example = dotenv_values(settings.BASE_DIR / ".env.example", interpolate=False)
    settings.LIMITS = {
        "purchases": example["LIMIT_PURCHASES"],
        "purchases-per-visitor": example["LIMIT_PURCHASES_PER_VISITOR"],
    }
    settings.MAX_OPEN_INVOICES = int(example["MAX_OPEN_INVOICES"])
    settings.MAX_OPEN_INVOICES_PER_VISITOR = int(example["MAX_OPEN_INVOICES_PER_VISITOR"])

    browsers = [shopper() for _ in range(20)]
    answers = [buy(browser).status_code for _ in range(3) for browser in browsers]

    assert answers == [302] * 60


def test_each_limit_of_the_example_is_a_rate(settings):
    example = dotenv_values(settings.BASE_DIR / ".env.example", interpolate=False)
    named = {name: rate for name, rate in example.items() if name.startswith("LIMIT_")}

    assert len(named) == len(settings.LIMITS)
    assert all(parse_many(rate) for rate in named.values())


def test_no_rate_is_no_limit(limit, buy, shopper):
    limit(purchases="", purchases_per_visitor="")
    browser = shopper()

    assert [buy(browser).status_code for _ in range(5)] == [302] * 5


def test_a_visitor_without_an_address_is_not_taken_for_all_others(limit, buy, shopper):
    limit(purchases="1/hour")

    assert [buy(shopper("")).status_code for _ in range(3)] == [302] * 3


def test_with_redis_away_the_shop_sells_on(limit, buy, shopper, settings, monkeypatch):
    away = {
        "BACKEND": "shop.cache.ForgivingRedisCache",
        "LOCATION": "redis://127.0.0.1:1/0",
        "OPTIONS": {"socket_connect_timeout": 1},
    }
    settings.CACHES = dict.fromkeys(settings.CACHES, away)
    limit(purchases="1/hour")

    assert [buy(shopper()).status_code for _ in range(3)] == [302] * 3


def test_a_count_whose_time_ends_in_between_begins_anew(monkeypatch):
    class Forgetful:
        def add(self, *arguments):
            return False

        def incr(self, *arguments):
            raise ValueError

    forgetful = Forgetful()
    monkeypatch.setattr(rate_limits, "counts", lambda: forgetful)

    assert rate_limits.DjangoCache().incr("key", 60) == 1


# Open invoices


def test_who_has_many_open_orders_is_led_to_them(buy, shopper, settings, service):
    settings.MAX_OPEN_INVOICES_PER_VISITOR = 2
    browser = shopper()
    buy(browser), buy(browser)

    refused = buy(browser)

    page = refused.content.decode()
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 15 * 60
    assert set(re.findall(r'href="(/payments/invoice/[^"]+)"', page)) == {
        invoice.get_absolute_url() for invoice in Invoice.objects.all()
    }
    assert new_addresses(service) == 2
    assert buy(shopper()).status_code == 302


def test_the_same_goods_lead_to_the_open_order_all_the_same(shopper, settings, service, product):
    settings.MAX_OPEN_INVOICES_PER_VISITOR = settings.MAX_OPEN_INVOICES = 1
    browser = shopper()

    answers = [browser.post(f"/payments/create/{product.pk}/") for _ in range(2)]

    assert [answer["Location"] for answer in answers] == [answers[0]["Location"]] * 2


def test_when_one_runs_out_or_is_paid_the_visitor_may_buy_again(buy, shopper, settings, call_back):
    settings.MAX_OPEN_INVOICES_PER_VISITOR = 1
    browser = shopper()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        buy(browser)
        assert buy(browser).status_code == 429

        clock.shift(settings.QUOTE_LIFETIME)
        assert buy(browser).status_code == 302
        assert buy(browser).status_code == 429

        call_back(Invoice.objects.latest("pk"), status=0)
        assert buy(browser).status_code == 302


def test_a_shop_full_of_unpaid_orders_gives_out_no_more_addresses(buy, shopper, settings, service):
    settings.MAX_OPEN_INVOICES = 3
    for _ in range(3):
        buy(shopper())

    refused = buy(shopper())

    assert refused.status_code == 503
    assert "nothing to pay" in refused.content.decode()
    assert int(refused["Retry-After"]) > 0
    assert "/payments/invoice/" not in refused.content.decode()
    assert new_addresses(service) == 3


def test_the_merchant_is_told_of_it(buy, shopper, settings, caplog):
    settings.MAX_OPEN_INVOICES = 1
    buy(shopper())

    buy(shopper())

    assert "1 invoices in a row are unpaid" in caplog.text
    assert "MAX_OPEN_INVOICES" in caplog.text


def test_one_payment_opens_the_shop_again(buy, shopper, settings, call_back):
    settings.MAX_OPEN_INVOICES = 3
    for _ in range(3):
        buy(shopper())
    oldest, *_, newest = Invoice.objects.order_by("pk")

    call_back(oldest, number=1)
    still_closed = buy(shopper()).status_code
    call_back(newest, number=2)

    assert still_closed == 302, "two in a row are left"
    assert buy(shopper()).status_code == 302


def test_the_row_is_forgotten_after_a_while(buy, shopper, settings):
    settings.MAX_OPEN_INVOICES = 1
    buy(shopper())
    assert buy(shopper()).status_code == 503

    old = timezone.now() - settings.WATCH_LIFETIME - timedelta(seconds=1)
    PaymentAttempt.objects.update(created_at=old)

    assert buy(shopper()).status_code == 302


def test_a_payment_that_vanished_leaves_its_address_unused(make_invoice, call_back):
    invoice = make_invoice()
    call_back(invoice, status=0)
    Transaction.objects.of(invoice).filter(transaction_id=txid(1)).update(dropped_at=timezone.now())

    assert invoice.attempt in PaymentAttempt.objects.unused_in_a_row("blockonomics")


def test_the_page_asks_for_little(
    buy, shopper, settings, make_invoice, django_assert_max_num_queries
):
    settings.MAX_OPEN_INVOICES_PER_VISITOR = 3
    browser = shopper()
    for _ in range(3):
        buy(browser)

    with django_assert_max_num_queries(12):
        assert buy(browser).status_code == 429


def test_the_desk_tells_how_near_the_gap_limit_is(admin_client, make_invoice):
    make_invoice(), make_invoice()

    page = admin_client.get("/admin/payments/invoice/").content.decode()

    assert "Unpaid addresses in a row: 2" in page
