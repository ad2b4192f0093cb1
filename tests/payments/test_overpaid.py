"""Whoever paid too much is told so, and the merchant sees it."""

import pytest
from django.core import mail
from django.core.management import call_command

from payments import refunds
from payments.models import Invoice
from payments.refunds import ShownRefund
from tests.conftest import address, txid

HOME = address(900)
LIST = "/admin/payments/invoice/"


@pytest.fixture
def order(invoice):
    Invoice.objects.filter(pk=invoice.pk).update(email="buyer@example.com")
    return invoice


@pytest.fixture
def letters():
    def letters():
        mail.outbox.clear()
        call_command("worker", once=True)
        return {letter.to[0]: letter for letter in mail.outbox}

    return letters


def test_both_mails_say_what_is_too_much_and_the_shoppers_leads_to_the_claim(
    order, call_back, letters, settings
):
    call_back(order, value=53_430)

    told = letters()

    shopper, merchant = told["buyer@example.com"], told[settings.MERCHANT_EMAIL]
    for body in (shopper.body, str(shopper.alternatives[0].content)):
        assert "0.00043430 BTC more than was asked for" in body.replace("\xa0", " ")
        assert f"{settings.SITE_URL}{order.get_absolute_url()}refund/" in body
    assert "0.00043430 BTC of it are too much" in merchant.body.replace("\xa0", " ")
    assert order.key not in merchant.body


def test_without_too_much_nothing_is_said_of_it(order, call_back, letters):
    call_back(order)

    for letter in letters().values():
        assert "too much" not in letter.body and "refund" not in letter.body


def test_what_comes_after_the_sale_is_told_by_a_mail_of_its_own(order, call_back, letters):
    call_back(order)
    letters()
    call_back(order, number=2, value=10_000)
    call_back(order, number=2, value=10_000)

    (letter,) = letters().values()

    assert letter.to == ["buyer@example.com"]
    assert letter.subject == f"You paid too much for order {order.order}"
    assert f"{order.get_absolute_url()}refund/" in letter.body


def test_unconfirmed_money_is_not_too_much_yet(order, call_back, letters):
    call_back(order)
    letters()
    call_back(order, number=2, value=10_000, status=0)

    assert letters() == {}
    assert not Invoice.objects.get(pk=order.pk).is_overpaid


@pytest.mark.parametrize(("value", "is_overpaid"), [(10_545, False), (10_546, True)])
def test_it_is_what_could_be_sent_back(order, call_back, value, is_overpaid):
    call_back(order, value=value)

    assert Invoice.objects.get(pk=order.pk).is_overpaid == is_overpaid


def test_the_desk_shows_it_and_finds_it(admin_client, order, make_invoice, call_back):
    call_back(order, value=53_430)
    just = make_invoice()
    call_back(just, number=2)

    def listed(**query):
        response = admin_client.get(LIST, query)
        return [row.order for row in response.context["cl"].result_list]

    assert "0.00043430 BTC" in admin_client.get(LIST).content.decode()
    assert set(listed()) == {order.order, just.order}
    assert listed(overpaid="kept") == [order.order]
    refund = refunds.request_refund(order, HOME)
    refunds.record_sent(refund, txid(99), ShownRefund(HOME, 43_430), by="merchant clerk")
    assert listed(overpaid="kept") == []
    assert listed(overpaid="all") == [order.order]
