"""The mail that follows from what happens to an invoice: once, and not lost."""

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from payments import tasks
from payments.models import Invoice, Mail
from payments.models.mail import MailIsBusy
from payments.providers.base import Sighting

from .conftest import SECRET, txid

SHOPPER, MERCHANT = "buyer@example.com", "merchant@example.com"


@pytest.fixture
def invoice(make_invoice):
    return make_invoice(quantity=2, email=SHOPPER)


@pytest.fixture
def hear(invoice, provider):
    def hear(number=1, amount=None, status=2, by="callback"):
        sighting = Sighting(invoice.reference, txid(number), amount or invoice.due, status)
        Invoice.objects.record(provider, sighting, by)

    return hear


@pytest.fixture
def vanish(invoice, provider, settings):
    """The network forgets all payments for good."""
    settings.DROP_AFTER = timedelta(0)

    def vanish():
        for _ in range(2):
            Invoice.objects.compare(provider, invoice, [], by="reconcile")

    return vanish


def sent():
    call_command("worker", "--once")
    return {(message.to[0], message.subject): message for message in mail.outbox}


def kinds():
    return sorted(Mail.objects.values_list("kind", "to"))


# What is mailed to whom


def test_what_is_paid_is_told_to_both(hear, invoice):
    hear()

    messages = sent()

    assert set(messages) == {
        (SHOPPER, f"Your order {invoice.order} is paid"),
        (MERCHANT, f"Sold: order {invoice.order}, 20.00\u00a0USD"),
    }


def test_the_shopper_gets_the_link_the_order_and_the_amounts(hear, invoice, settings):
    hear()

    text = sent()[SHOPPER, f"Your order {invoice.order} is paid"].body

    assert settings.SITE_URL + invoice.get_absolute_url() in text
    for fact in ("2 × Mountain", "20.00\u00a0USD", "0.00020000 BTC", settings.SHOP_NAME):
        assert fact in text


def test_the_merchant_gets_the_desk_and_no_key_to_the_goods(hear, invoice, settings):
    hear()

    text = sent()[MERCHANT, f"Sold: order {invoice.order}, 20.00\u00a0USD"].body

    assert f"{settings.SITE_URL}/admin/payments/invoice/{invoice.pk}/change/" in text
    assert "0.00020000 BTC" in text and invoice.reference in text
    assert invoice.key not in text


def test_a_payment_that_is_gone_is_told_to_both(hear, invoice, vanish, settings):
    hear(status=1)
    vanish()

    messages = sent()

    assert kinds() == [("alarm", MERCHANT), ("uncovered", SHOPPER)]
    shopper = messages[
        SHOPPER, f"A payment for order {invoice.order} is gone from the bitcoin network"
    ].body
    merchant = messages[MERCHANT, f"Order {invoice.order} needs you"].body
    assert settings.SITE_URL + invoice.get_absolute_url() in shopper
    assert "20.00\u00a0USD is not paid" in shopper
    assert "has forgotten a payment before it was confirmed" in merchant
    assert "20.00\u00a0USD" in merchant and invoice.reference in merchant


def test_a_payment_that_is_gone_after_the_sale_alarms_the_merchant(hear, invoice, vanish):
    hear(status=2)
    vanish()

    messages = sent()

    assert kinds() == [
        ("alarm", MERCHANT),
        ("paid", SHOPPER),
        ("sold", MERCHANT),
        ("vanished", MERCHANT),
    ]
    text = messages[MERCHANT, f"A payment for order {invoice.order} is gone, after the sale"].body
    assert "The order stays paid" in text
    assert invoice.reference in text
    assert Invoice.objects.get().settlement == "paid"


def test_a_later_loss_is_told_even_if_something_was_reviewed_before(hear, invoice, vanish):
    hear(status=0, amount=5)
    hear(status=1, amount=6)
    Invoice.objects.get().mark_as_reviewed(by="merchant clerk")
    hear(number=2, status=2)
    sent()
    mail.outbox.clear()

    vanish()

    assert (MERCHANT, f"A payment for order {invoice.order} is gone, after the sale") in sent()
    assert "vanished" in Invoice.objects.get().review


def test_what_needs_a_person_is_told_to_both(hear, invoice, settings):
    hear(status=0, amount=5)
    hear(status=1, amount=6)

    messages = sent()

    assert kinds() == [("alarm", MERCHANT), ("review", SHOPPER)]
    merchant = messages[MERCHANT, f"Order {invoice.order} needs you"].body
    shopper = messages[SHOPPER, f"We are looking at your order {invoice.order}"].body
    assert f"Why: {txid(1)} was reported with different amounts." in merchant
    assert "different amounts" not in shopper
    assert settings.SITE_URL + invoice.get_absolute_url() in shopper
    assert "0.00000006 BTC" in shopper and "20.00\u00a0USD" in shopper


def test_several_reasons_are_one_mail_and_all_at_the_desk(hear, invoice):
    hear(status=0, amount=5)
    hear(status=1, amount=6)

    Invoice.objects.call_for_review(invoice, "something else", by="worker")

    assert [kind for kind, _ in kinds()].count("alarm") == 1
    assert "; something else" in Invoice.objects.get().review


def test_without_an_address_there_is_no_mail(make_invoice, provider, settings):
    settings.MERCHANT_EMAIL = ""
    silent = make_invoice(email="")

    Invoice.objects.record(provider, Sighting(silent.reference, txid(1), silent.due, 2))
    Invoice.objects.call_for_review(silent, "something", by="worker")

    assert kinds() == []
    assert not DBTaskResult.objects.exists()


def test_an_alarm_without_an_address_is_no_failure(db, settings):
    settings.MERCHANT_EMAIL = ""
    tasks.alarm("somebody redirects the money")

    call_command("worker", "--once")

    assert not mail.outbox
    assert DBTaskResult.objects.get().status == "SUCCESSFUL"


def test_an_alarm_reaches_the_merchant(db, settings):
    tasks.alarm("somebody redirects the money")

    ((who, subject),) = sent()

    assert (who, subject) == (MERCHANT, f"{settings.SHOP_NAME} needs you")
    assert "somebody redirects the money" in mail.outbox[0].body


def test_two_alarms_are_two_and_one_alarm_twice_is_one(db, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    tasks.alarm("somebody redirects the money")
    time_machine.shift(3_601)
    tasks.alarm("somebody redirects the money")
    for task in DBTaskResult.objects.all():
        tasks.alarm_merchant.enqueue(*task.args_kwargs["args"])

    call_command("worker", "--once")

    names = [message.extra_headers["Message-ID"] for message in mail.outbox]
    assert (len(names), len(set(names))) == (4, 2)


# Once


@pytest.mark.parametrize("kind", Mail.Kind.values)
def test_each_kind_goes_out_once_however_often_it_is_asked_for(invoice, kind):
    for _ in range(3):
        Mail.objects.about(invoice, kind)
    mailed = Mail.objects.get()
    for _ in range(3):
        tasks.send_mail.enqueue(mailed.pk)

    call_command("worker", "--once")
    mailed.send()

    assert len(mail.outbox) == 1
    assert set(DBTaskResult.objects.values_list("status", flat=True)) == {"SUCCESSFUL"}
    assert invoice.timeline.filter(kind="mailed").count() == 1


@pytest.mark.parametrize("kind", Mail.Kind.values)
def test_every_mail_names_the_order_and_a_way_on(invoice, kind, settings):
    Mail.objects.about(invoice, kind)

    message = Mail.objects.get().message()

    assert invoice.order in message.subject
    assert "20.00\u00a0USD" in message.subject + message.body
    assert re.search(r"[0-9]\.[0-9]{8} BTC", message.body)
    assert re.search(rf"^{settings.SITE_URL}/\S+$", message.body, re.MULTILINE)
    assert "\n\n\n" not in message.body


@pytest.mark.parametrize("kind", Mail.Kind.values)
def test_no_mail_holds_a_secret(invoice, kind, settings):
    settings.BLOCKONOMICS_XPUB = "xpub-of-the-shop"
    Mail.objects.about(invoice, kind)

    text = str(Mail.objects.get().message().message())

    for secret in (SECRET, settings.SECRET_KEY, settings.BLOCKONOMICS_API_KEY, "xpub-of-the-shop"):
        assert secret not in text


def test_no_mail_is_html_in_disguise(make_invoice, make_product, provider):
    from payments.models import Line

    product = make_product(title="Tom & Jerry <3 “best”")
    bought = Invoice.objects.create_for([Line(product)], provider)
    Mail.objects.about(bought, Mail.Kind.SOLD)

    assert "Tom & Jerry <3 “best”" in Mail.objects.get().message().body


def test_the_message_id_is_constant_and_of_the_shops_host(invoice, settings):
    settings.DEFAULT_FROM_EMAIL = "Himalaya Prints <shop@prints.example>"
    Mail.objects.about(invoice, Mail.Kind.PAID)
    mailed = Mail.objects.get()

    names = {mailed.message().extra_headers["Message-ID"] for _ in range(3)}

    assert names == {f"<paid.{invoice.order_code}@prints.example>"}


def test_mails_of_several_kinds_and_orders_have_ids_of_their_own(make_invoice):
    invoices = [make_invoice(email=SHOPPER), make_invoice(email=SHOPPER)]
    for one in invoices:
        Mail.objects.about(one, *Mail.Kind.values)

    names = {each.message().extra_headers["Message-ID"] for each in Mail.objects.all()}

    assert len(names) == 2 * len(Mail.Kind)


@pytest.mark.django_db(transaction=True)
def test_a_rollback_leaves_no_mail(invoice):
    with pytest.raises(RuntimeError), transaction.atomic():
        Mail.objects.about(invoice, Mail.Kind.PAID)
        raise RuntimeError("the process dies before the commit")

    assert not Mail.objects.exists()
    assert not DBTaskResult.objects.exists()


# Not lost


def test_a_mail_server_that_fails_is_asked_again(invoice, monkeypatch, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    Mail.objects.about(invoice, Mail.Kind.PAID)
    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.EmailMessage.send", lambda self: 1 / 0)
        call_command("worker", "--once")
    assert not Mail.objects.get().sent_at
    assert not invoice.timeline.filter(kind="mailed").exists()

    time_machine.shift(tasks.RETRY_AFTER[0])
    call_command("worker", "--once")

    assert len(mail.outbox) == 1
    assert Mail.objects.get().sent_at == timezone.now()


def test_a_mail_that_another_worker_is_about_is_neither_sent_nor_forgotten(
    invoice, settings, time_machine
):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    Mail.objects.about(invoice, Mail.Kind.PAID)
    Mail.objects.update(claimed_at=timezone.now())

    with pytest.raises(MailIsBusy):
        Mail.objects.get().send()
    time_machine.shift(settings.TASK_LEASE)
    Mail.objects.get().send()

    assert len(mail.outbox) == 1


def test_a_worker_that_dies_before_its_note_sends_the_same_id_again(
    invoice, monkeypatch, settings, time_machine
):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    Mail.objects.about(invoice, Mail.Kind.PAID)

    def die(self, *line):
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(Invoice, "log", die)
        with pytest.raises(SystemExit):
            Mail.objects.get().send()
    time_machine.shift(settings.TASK_LEASE)
    Mail.objects.get().send()

    assert len({message.extra_headers["Message-ID"] for message in mail.outbox}) == 1
    assert invoice.timeline.filter(kind="mailed").count() == 1


def test_a_mail_leaves_a_line_with_its_kind_and_its_address(invoice):
    Mail.objects.about(invoice, Mail.Kind.PAID)
    call_command("worker", "--once")

    line = invoice.timeline.last()

    assert (line.kind, line.by) == ("mailed", "worker")
    assert line.note == f"Receipt and goods, to {SHOPPER}"


def test_the_desk_shows_what_was_mailed_and_what_was_not_yet(invoice, admin_client):
    Mail.objects.about(invoice, Mail.Kind.PAID)
    call_command("worker", "--once")
    Mail.objects.about(invoice, Mail.Kind.SOLD)

    page = admin_client.get(f"/admin/payments/invoice/{invoice.pk}/change/").content.decode()

    assert "Receipt and goods" in page and SHOPPER in page
    assert page.count('class="field-sent_at"') == 2
    assert re.search(r'class="field-sent_at">\s*<p>-</p>', page)


def test_a_mail_server_that_says_nothing_is_not_waited_for_for_ever(settings):
    assert 0 < settings.EMAIL_TIMEOUT < settings.TASK_LEASE.total_seconds() / 4
