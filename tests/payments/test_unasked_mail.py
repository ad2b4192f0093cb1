"""Mail is no weapon: a stranger's address gets little of it, and a flurry makes one."""

import pytest
from django.core import mail
from django.core.management import call_command

from payments.models import Mail
from tests.conftest import address

pytestmark = pytest.mark.django_db
VICTIM = "stranger@example.com"


@pytest.fixture
def work():
    def work():
        call_command("worker", once=True)
        return [letter.subject for letter in mail.outbox]

    return work


def test_a_recipient_gets_so_many_whoever_asks_for_them(settings, client, make_product, service):
    settings.LIMITS = {"e-mails": "", "e-mails-per-recipient": "3/hour"}

    def order(email):
        return client.post(f"/payments/create/{make_product().pk}/", {"email": email}).status_code

    assert [order(VICTIM) for _ in range(3)] == [302] * 3
    assert order(VICTIM.upper()) == 429
    assert order("another@example.com") == 302
    assert order("") == 302


def test_an_orders_page_counts_as_well(settings, client, make_invoice):
    settings.LIMITS = {"e-mails": "", "e-mails-per-recipient": "1/hour"}

    def give(invoice):
        return client.post(f"{invoice.get_absolute_url()}email/", {"email": VICTIM}).status_code

    assert [give(make_invoice()) for _ in range(2)] == [302, 429]
    assert Mail.objects.filter(to=VICTIM).count() == 1


@pytest.fixture
def overpaid(invoice, call_back, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    call_back(invoice, value=15_000)
    Mail.objects.all().delete()
    return invoice


@pytest.fixture
def ask(client, overpaid):
    return lambda **form: client.post(f"{overpaid.get_absolute_url()}refund/", form)


def test_a_flurry_of_requests_and_withdrawals_is_one_mail(ask, work):
    for number in range(20):
        ask(address=address(number))
        work()
        ask(withdraw="yes")

    ask(address=address(99))
    assert len(work()) == 1


def test_what_was_withdrawn_before_the_mail_went_out_is_told_when_it_is_asked_again(ask, work):
    ask(address=address(1))
    ask(withdraw="yes")
    assert work() == []

    ask(address=address(2))

    assert len(work()) == 1


def test_the_next_hour_has_a_mail_of_its_own(ask, work, time_machine):
    ask(address=address(1))
    work()
    ask(withdraw="yes")
    time_machine.move_to("2026-03-01 14:00:00Z", tick=False)

    ask(address=address(2))

    assert len(work()) == 2
