"""Whoever looks for an order pastes what they have: a code, a link, an address."""

import pytest

from payments import refunds
from payments.refunds import ShownRefund
from tests.conftest import address, txid

LIST = "/admin/payments/invoice/"
HOME = address(900)


@pytest.fixture
def order(invoice, make_invoice, call_back):
    """One of two, overpaid, and sent back."""
    make_invoice()
    call_back(invoice, number=7, value=15_000)
    refund = refunds.request_refund(invoice, HOME)
    refunds.record_sent(refund, txid(99), ShownRefund(HOME, 5_000), by="merchant clerk")
    return invoice


PASTED = {
    "code": lambda order: order.order,
    "half a code": lambda order: order.order[:6],
    "address": lambda order: order.attempt.reference,
    "transaction": lambda order: txid(7),
    "refund": lambda order: txid(99),
    "explorer's transaction": lambda order: f"https://mempool.space/testnet/tx/{txid(7)}",
    "explorer's refund": lambda order: f"https://mempool.space/tx/{txid(99)}#vout=0",
    "explorer's address": lambda order: f"http://e.example/address/{order.attempt.reference}?x=1",
    "payment link": lambda order: f"bitcoin:{order.attempt.reference}?amount=0.0001&label=Shop",
    "payment link of a QR code": lambda order: f"BITCOIN:{order.attempt.reference.upper()}",
    "order's link": lambda order: f"https://shop.example.com{order.get_absolute_url()}",
    "receipt's link": lambda order: f" http://shop/{order.get_absolute_url()}receipt/ ",
}


@pytest.mark.parametrize("pasted", PASTED)
def test_it_is_found_by_what_is_pasted(admin_client, order, pasted):
    response = admin_client.get(LIST, {"q": PASTED[pasted](order)})

    assert [row.order for row in response.context["cl"].result_list] == [order.order]


@pytest.mark.parametrize("pasted", ["https://e.example/", "bitcoin:", "http://[", "::", "/", "ä-ö"])
def test_what_means_nothing_finds_nothing(admin_client, order, pasted):
    response = admin_client.get(LIST, {"q": pasted})

    assert response.status_code == 200
    assert not response.context["cl"].result_list
