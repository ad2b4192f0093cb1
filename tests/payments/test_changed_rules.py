"""The merchant changes a rule of money while orders are under way."""

from decimal import Decimal

import pytest
from django.core.management import call_command

from payments import settling
from payments.models import Delivery, Invoice


@pytest.fixture
def short(invoice, call_back):
    """One satoshi is missing, confirmed."""
    call_back(invoice, value=9_999)
    return Invoice.objects.get()


def test_until_it_is_written_down_nobody_reads_paid(client, short, settings):
    settings.UNDERPAYMENT_TOLERANCE = Decimal(1)

    status = client.get(f"{short.get_absolute_url()}status/").json()
    page = client.get(short.get_absolute_url()).content.decode()

    assert status["settlement"] == "confirming"
    assert "Paid. Thank you!" not in page
    assert "/download/" not in page


def test_the_next_round_settles_what_the_new_rule_settles(client, short, settings, service):
    before = client.get(f"{short.get_absolute_url()}status/").json()["revision"]
    settings.UNDERPAYMENT_TOLERANCE = Decimal(1)

    assert settling.resettle(by="reconcile") == 1

    assert Invoice.objects.get().settlement == "paid"
    assert Delivery.objects.count() == 1
    assert short.timeline.get(kind="paid").by == "reconcile"
    assert client.get(f"{short.get_absolute_url()}status/").json()["revision"] != before
    assert settling.resettle(by="reconcile") == 0


def test_a_stricter_rule_unpays_nothing(invoice, call_back, settings):
    call_back(invoice, status=2)
    settings.VERIFY_FROM = Decimal(0)

    assert settling.resettle(by="reconcile") == 0
    assert Invoice.objects.get().settlement == "paid"


def test_reconciliation_does_it_even_when_nobody_answers(short, settings, service):
    settings.UNDERPAYMENT_TOLERANCE = Decimal(1)

    call_command("reconcile")

    assert Invoice.objects.get().settlement == "paid"
