"""The receipt: what was bought, what was paid for it, and to whom."""

import re
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import money, refunds
from payments.models import Transaction
from payments.refunds import ShownRefund
from tests.conftest import address, txid

HOME = address(900)


@pytest.fixture
def receipt(client):
    """The receipt's text, as a person reads it, or its HTML."""

    def read(invoice, html=False):
        page = client.get(f"/payments/invoice/{invoice.key}/receipt/").content.decode()
        if html:
            return page
        main = re.search(r"<main.*?</main>", page, re.DOTALL)[0]
        return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", main)).replace("\u00a0", " "))

    return read


@pytest.fixture
def of_the_shop(settings):
    settings.SHOP_NAME = "Himalaya Prints"
    settings.SHOP_ADDRESS = "7 Mountain Road\nPokhara & <Lakeside>"
    settings.SHOP_TAX_ID = "VAT ID DE123456789"
    return settings


def test_it_is_there_once_the_invoice_is_paid(client, invoice, call_back):
    path = f"/payments/invoice/{invoice.key}/receipt/"
    assert client.get(path).status_code == 404

    call_back(invoice)

    assert client.get(path).status_code == 200
    assert client.post(path).status_code == 405


def test_it_tells_who_sold_what_for_how_much_and_when(
    make_invoice, call_back, receipt, of_the_shop, time_machine
):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    invoice = make_invoice(quantity=2)
    call_back(invoice)

    text = receipt(invoice)

    for fact in (
        *["Himalaya Prints", "7 Mountain Road Pokhara & <Lakeside>", "VAT ID DE123456789"],
        *[invoice.order, "March 1, 2026", "Mountain 2 10.00 USD 20.00 USD", "Total 20.00 USD"],
    ):
        assert fact in text


def test_an_address_has_its_lines_and_no_code(invoice, call_back, receipt, of_the_shop):
    call_back(invoice)

    assert "7 Mountain Road<br>Pokhara &amp; &lt;Lakeside&gt;" in receipt(invoice, html=True)


def test_each_payment_is_told_at_the_rate_of_its_receipt(invoice, call_back, receipt):
    call_back(invoice, number=1, value=4_000)
    Transaction.objects.of(invoice).update(rate=Decimal("50000"))
    call_back(invoice, number=2, value=8_000)

    text = receipt(invoice)

    assert f"0.00004000 BTC 50,000.00 USD 2.00 USD Transaction {txid(1)}" in text
    assert f"0.00008000 BTC 100,000.00 USD 8.00 USD Transaction {txid(2)}" in text
    assert "Paid 0.00012000 BTC 10.00 USD" in text
    assert "too much" not in text


def test_what_was_paid_too_much_has_a_line(invoice, call_back, receipt):
    call_back(invoice, value=15_000)

    text = receipt(invoice)

    assert "Paid 0.00015000 BTC 15.00 USD" in text
    assert "of which too much 0.00005000 BTC 5.00 USD" in text


def test_a_refund_is_told(invoice, call_back, receipt):
    call_back(invoice, value=15_000)
    claim = refunds.request_refund(invoice, HOME)
    assert "Sent back" not in receipt(invoice)

    refunds.record_sent(claim, txid(99), ShownRefund(HOME, 5_000), by="merchant clerk")

    text = receipt(invoice)
    assert "Sent back 0.00005000 BTC on" in text
    assert HOME in text and txid(99) in text


def test_it_asks_the_database_little(client, invoice, call_back, django_assert_max_num_queries):
    for number in range(1, 6):
        call_back(invoice, number=number, value=3_000)

    with django_assert_max_num_queries(8):
        client.get(f"/payments/invoice/{invoice.key}/receipt/")


# The tax


def test_without_a_tax_there_is_no_line_for_it(invoice, call_back, receipt):
    call_back(invoice)

    assert "of which" not in receipt(invoice)


@pytest.mark.parametrize(
    ("rate", "told", "tax"),
    [("19", "19 %", "1.60"), ("8.875", "8.875 %", "0.82"), ("20.0", "20 %", "1.67")],
)
def test_the_total_includes_the_tax(settings, make_invoice, call_back, receipt, rate, told, tax):
    settings.TAX_NAME, settings.TAX_RATE = "VAT", Decimal(rate)
    invoice = make_invoice()
    call_back(invoice)

    assert f"of which VAT, {told} {tax} USD" in receipt(invoice)


@pytest.mark.parametrize(("name", "rate"), [("", "0"), ("GST", "25")])
def test_a_receipt_stays_as_on_the_day_of_the_sale(
    settings, make_invoice, call_back, receipt, name, rate
):
    settings.TAX_NAME, settings.TAX_RATE = "VAT", Decimal("19")
    invoice = make_invoice()
    call_back(invoice)

    settings.TAX_NAME, settings.TAX_RATE = name, Decimal(rate)

    assert "of which VAT, 19 % 1.60 USD" in receipt(invoice)


def test_a_tax_that_comes_later_was_not_on_the_receipt(settings, invoice, call_back, receipt):
    call_back(invoice)

    settings.TAX_NAME, settings.TAX_RATE = "VAT", Decimal("19")

    assert "VAT" not in receipt(invoice)


@given(
    st.decimals("0.01", "999999999999.99", places=2),
    st.decimals("0", "99.9999", places=4),
)
def test_the_tax_is_what_school_would_make_of_it(total, rate):
    tax = money.included_tax(total, rate, "USD")

    exact = Fraction(total) * Fraction(rate) / (100 + Fraction(rate))
    assert abs(Fraction(tax) - exact) <= Fraction(1, 200)
    if abs(Fraction(tax) - exact) == Fraction(1, 200):
        assert tax > exact  # half a cent goes up
    assert Decimal(0) <= tax < total or total == Decimal("0.01")
    assert tax.as_tuple().exponent == -2


@given(st.integers(0, 10**9))
def test_half_a_cent_is_rounded_up(cents):
    """At 100 % half of the total is tax."""
    tax = money.included_tax(Decimal(cents) / 100, Decimal(100), "USD")

    half = Decimal(cents) / 200
    assert tax == half.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


# The link to a block explorer


def test_without_an_explorer_there_is_no_link(invoice, call_back, receipt):
    call_back(invoice)

    html = receipt(invoice, html=True)
    assert f">{txid(1)}</code>" in html
    assert "</code></a>" not in html


def test_a_transaction_leads_to_the_explorer(settings, invoice, call_back, receipt):
    settings.BLOCK_EXPLORER = "https://mempool.space/tx/{txid}"
    call_back(invoice)

    html = receipt(invoice, html=True)

    assert f'<a href="https://mempool.space/tx/{txid(1)}" rel="noreferrer noopener">' in html


# A shop to try things with


@pytest.mark.parametrize(
    ("sandbox", "staging", "told"),
    [(False, False, False), (True, False, True), (False, True, True)],
)
def test_a_receipt_of_play_money_says_so(
    settings, invoice, call_back, receipt, sandbox, staging, told
):
    settings.SANDBOX, settings.STAGING = sandbox, staging
    call_back(invoice)

    assert ("nothing here is real money" in receipt(invoice)) == told
