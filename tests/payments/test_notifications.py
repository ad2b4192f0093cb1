"""The mail that follows from what happens to an invoice: once, and not lost."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email import message_from_bytes, policy
from html.parser import HTMLParser

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone, translation
from django_tasks_db.models import DBTaskResult

from payments import checkout, ingestion, notifications, outbox, quoting, review, tasks, worker
from payments.models import Invoice, Line, Mail, PaymentAttempt, Refund
from payments.notifications import MailIsBusy
from tests.conftest import SECRET, report, txid

SHOPPER, MERCHANT = "buyer@example.com", "merchant@example.com"


@pytest.fixture
def invoice(make_invoice):
    return make_invoice(quantity=2, email=SHOPPER)


def sent():
    call_command("worker", "--once")
    return {(message.to[0], message.subject): message for message in mail.outbox}


def settle_down(invoice):
    """Forgets the mail of what led here."""
    DBTaskResult.objects.all().delete()
    Mail.objects.all().delete()
    mail.outbox.clear()
    invoice.refresh_from_db()


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
    assert "0.00020000 BTC" in text and invoice.attempt.reference in text
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
    assert "20.00\u00a0USD" in merchant and invoice.attempt.reference in merchant


def test_a_payment_that_is_gone_after_the_sale_alarms_the_merchant(hear, invoice, vanish):
    hear(status=2)
    vanish()

    messages = sent()

    assert kinds() == [
        ("paid", SHOPPER),
        ("sold", MERCHANT),
        ("vanished", MERCHANT),
    ]
    text = messages[MERCHANT, f"A payment for order {invoice.order} is gone, after the sale"].body
    assert "The order stays paid" in text
    assert invoice.attempt.reference in text
    assert Invoice.objects.get().settlement == "paid"


def test_a_later_loss_is_told_even_if_something_was_reviewed_before(hear, invoice, vanish):
    hear(status=0, amount=5)
    hear(status=1, amount=6)
    review.mark_as_reviewed(Invoice.objects.get(), by="merchant clerk")
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

    assert kinds() == [("alarm", MERCHANT), ("needs", SHOPPER), ("review", SHOPPER)]
    assert len(messages) == 2  # nothing is asked of the shopper while a person looks at it
    merchant = messages[MERCHANT, f"Order {invoice.order} needs you"].body
    shopper = messages[SHOPPER, f"We are looking at your order {invoice.order}"].body
    assert f"Why: {txid(1)} was reported with different amounts." in merchant
    assert "different amounts" not in shopper
    assert settings.SITE_URL + invoice.get_absolute_url() in shopper
    assert "0.00000006 BTC" in shopper and "20.00\u00a0USD" in shopper


def test_several_reasons_are_one_mail_and_all_at_the_desk(hear, invoice):
    hear(status=0, amount=5)
    hear(status=1, amount=6)

    review.flag_for_review(invoice, "something else", by="worker")

    assert [kind for kind, _ in kinds()].count("alarm") == 1
    assert "; something else" in Invoice.objects.get().review


def test_without_an_address_there_is_no_mail(make_invoice, provider, settings):
    settings.MERCHANT_EMAIL = ""
    silent = make_invoice(email="")

    ingestion.record_report(provider, report(silent, 1, silent.attempt.due, 2))
    review.flag_for_review(silent, "something", by="worker")

    assert kinds() == []
    assert not DBTaskResult.objects.exists()


def test_an_alarm_without_an_address_is_no_failure(db, settings):
    settings.MERCHANT_EMAIL = ""
    outbox.alarm("somebody redirects the money")

    call_command("worker", "--once")

    assert not mail.outbox
    assert DBTaskResult.objects.get().status == "SUCCESSFUL"


def test_an_alarm_reaches_the_merchant(db, settings):
    outbox.alarm("somebody redirects the money")

    ((who, subject),) = sent()

    assert (who, subject) == (MERCHANT, f"{settings.SHOP_NAME} needs you")
    assert "somebody redirects the money" in mail.outbox[0].body


def test_two_alarms_are_two_and_one_alarm_twice_is_one(db, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    outbox.alarm("somebody redirects the money")
    time_machine.shift(3_601)
    outbox.alarm("somebody redirects the money")
    for task in DBTaskResult.objects.all():
        tasks.alarm_merchant.enqueue(*task.args_kwargs["args"])

    call_command("worker", "--once")

    names = [message.extra_headers["Message-ID"] for message in mail.outbox]
    assert (len(names), len(set(names))) == (4, 2)


# What needs the shopper


def needs():
    return Mail.objects.filter(kind="needs")


def later(time_machine, **time):
    time_machine.shift(timedelta(**time))


@pytest.fixture
def noon(time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)


def test_too_little_is_told_at_once_with_what_is_missing(hear, invoice, settings):
    hear(amount=15_000)

    text = sent()[SHOPPER, f"Something is still missing for your order {invoice.order}"].body

    assert "We have seen 0.00015000 BTC for your order of 20.00\u00a0USD" in text
    assert "0.00005000 BTC (5.00\u00a0USD) are missing" in text
    assert settings.SITE_URL + invoice.get_absolute_url() in text


def test_each_payment_that_is_too_little_is_told_and_each_once(hear):
    for _ in range(2):
        for status in (0, 1, 2):
            hear(number=1, amount=5_000, status=status)
    sent()
    assert len(mail.outbox) == 1

    hear(number=2, amount=5_000)
    hear(number=2, amount=5_000)
    hear(number=1, amount=5_000)

    sent()
    assert len(mail.outbox) == 2
    assert "0.00010000 BTC (10.00\u00a0USD) are missing" in mail.outbox[1].body
    assert len({message.extra_headers["Message-ID"] for message in mail.outbox}) == 2


def test_the_rest_that_comes_before_the_mail_makes_it_needless(hear):
    hear(number=1, amount=5_000)
    hear(number=2, amount=15_000)

    sent()

    assert needs().get().superseded_at and not needs().get().sent_at
    assert {message.subject.partition(" ")[0] for message in mail.outbox} == {"Your", "Sold:"}
    assert set(DBTaskResult.objects.values_list("status", flat=True)) == {"SUCCESSFUL"}


def test_money_of_unknown_worth_asks_nothing_of_the_shopper(
    noon, hear, invoice, service, time_machine
):
    later(time_machine, hours=1)
    cache.clear()
    service.answers["price"] = (500, "")

    hear(amount=5_000)
    notifications.remind()
    assert not needs().exists()
    service.answers.clear()
    hear(amount=5_000)

    assert needs().count() == 1
    text = notifications.message(needs().get()).body
    assert "A payment came after the price had run out" in text
    assert "15.00\u00a0USD are missing, and the price has run out" in text


def test_a_quote_that_runs_out_over_an_underpayment_is_told_once(noon, hear, invoice, time_machine):
    hear(amount=5_000)
    sent()
    later(time_machine, minutes=15, seconds=59)
    sent()
    assert len(mail.outbox) == 1

    later(time_machine, seconds=1)
    for _ in range(3):
        sent()
        later(time_machine, minutes=1)

    assert len(mail.outbox) == 2
    assert "15.00\u00a0USD are missing, and the price has run out" in mail.outbox[1].body


def test_a_second_quote_that_runs_out_is_told_as_well(noon, hear, invoice, provider, time_machine):
    hear(amount=5_000)
    sent()
    later(time_machine, minutes=16)
    sent()
    quoting.requote(Invoice.objects.get(), provider)
    sent()
    assert len(mail.outbox) == 2

    later(time_machine, minutes=16)
    sent()

    assert len(mail.outbox) == 3


def test_who_paid_too_little_and_too_late_is_told_in_one_mail(noon, hear, time_machine):
    later(time_machine, hours=1)
    hear(amount=5_000)

    for _ in range(2):
        sent()
        later(time_machine, minutes=5)

    assert needs().count() == 1


@pytest.mark.parametrize("state", ["paid", "nothing came", "reviewed", "nobody", "long ago"])
def test_who_needs_no_reminder_gets_none(noon, hear, invoice, time_machine, state):
    if state != "nothing came":
        hear(amount=20_000 if state == "paid" else 5_000)
    if state == "reviewed":
        review.flag_for_review(invoice, "something odd", by="worker")
    if state == "nobody":
        Invoice.objects.update(email="")
    before = needs().count()
    later(time_machine, days=8 if state == "long ago" else 1)

    notifications.remind()

    assert needs().count() == before


@pytest.mark.django_db(transaction=True)
def test_workers_that_look_at_the_same_time_remind_once(invoice, provider):
    ingestion.record_report(provider, report(invoice, 1, 5_000, 2))
    Mail.objects.all().delete()
    PaymentAttempt.objects.update(expires_at=timezone.now() - timedelta(minutes=5))

    def remind(_):
        try:
            notifications.remind()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(remind, range(4)))

    assert needs().count() == 1


def test_a_second_loss_is_told_as_well(hear, invoice, vanish):
    hear(number=1, status=1)
    vanish()
    hear(number=2, status=1)
    vanish()

    assert kinds() == [("alarm", MERCHANT)] * 2 + [("uncovered", SHOPPER)] * 2


def test_money_that_came_back_needs_no_mail_about_its_loss(hear, invoice, vanish):
    hear(number=1, status=1)
    vanish()
    hear(number=1, status=2, by="reconcile")

    assert {message.subject for message in sent().values() if message.to == [SHOPPER]} == {
        f"Your order {invoice.order} is paid"
    }


def test_what_is_odd_after_a_person_has_looked_is_told_anew(invoice):
    review.flag_for_review(invoice, "something odd", by="worker")
    review.mark_as_reviewed(Invoice.objects.get(), by="merchant clerk")

    review.flag_for_review(invoice, "something odd", by="worker")

    assert kinds() == [("alarm", MERCHANT)] * 2 + [("review", SHOPPER)] * 2


# An address that comes later


def test_an_address_that_comes_later_gets_the_link(make_invoice):
    quiet = make_invoice()

    assert notifications.subscribe(quiet, SHOPPER)

    assert kinds() == [("created", SHOPPER)]
    assert (SHOPPER, f"Your order {quiet.order}") in sent()


def test_an_address_that_comes_after_the_payment_gets_the_receipt(make_invoice, provider):
    quiet = make_invoice()
    ingestion.record_report(provider, report(quiet, 1, quiet.attempt.due, 2))

    notifications.subscribe(quiet, SHOPPER)

    assert (SHOPPER, f"Your order {quiet.order} is paid") in sent()


def test_the_first_address_stays(invoice):
    assert not notifications.subscribe(invoice, "other@example.com")

    assert Invoice.objects.get().email == SHOPPER
    assert kinds() == []


# How a mail is made


class Page(HTMLParser):
    """The words of a page, its links, and what it would load."""

    def __init__(self, page):
        super().__init__()
        self.words, self.links, self.loaded = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "a":
            self.links.append(attributes["href"])
        if tag in ("img", "link", "script", "iframe") or "url(" in attributes.get("style", ""):
            self.loaded.append(tag)

    def handle_data(self, data):
        self.words += data.split()


@pytest.mark.parametrize("kind", Mail.Kind.values)
def test_the_page_has_the_words_of_the_text_and_loads_nothing(invoice, kind, settings):
    notifications.notify(invoice, kind)

    message = notifications.message(Mail.objects.get())
    ((html, mimetype),) = message.alternatives
    page = Page(html)

    assert mimetype == "text/html"
    assert page.loaded == []
    (link,) = page.links
    assert link in message.body.splitlines()
    said = set(re.findall(r"\w+", " ".join(page.words)))
    assert set(re.findall(r"\w+", message.body)) <= said
    assert invoice.order in html.partition("<title>")[2].partition("</title>")[0]


def test_a_title_is_text_in_the_page_too(make_product, provider, service):
    product = make_product(title="<b>Tom</b> & Jerry")
    bought = checkout.place_order([Line(product)], provider, email=SHOPPER)

    html = notifications.message(bought.mails.get()).alternatives[0][0]

    assert "&lt;b&gt;Tom&lt;/b&gt; &amp; Jerry" in html
    assert "<b>" not in html


def test_a_mail_arrives_whole(hear, invoice):
    hear()
    source = sent()[SHOPPER, f"Your order {invoice.order} is paid"].message().as_bytes()

    read = message_from_bytes(source, policy=policy.default)

    assert read["Auto-Submitted"] == "auto-generated"
    assert read["To"] == SHOPPER
    assert read.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in read.iter_parts()] == ["text/plain", "text/html"]
    assert "20.00\u00a0USD" in read.get_body(("plain",)).get_content()


@pytest.mark.parametrize(("language", "direction"), [("de", "ltr"), ("ar", "rtl"), ("", "ltr")])
def test_a_shopper_is_written_to_in_their_language(invoice, language, direction):
    Invoice.objects.update(language=language)
    with translation.override("fr"):
        notifications.notify(invoice, Mail.Kind.PAID)
        html = notifications.message(Mail.objects.get()).alternatives[0][0]

    assert f'<html lang="{language or "en"}" dir="{direction}">' in html


def test_a_merchant_is_written_to_in_the_shops_language(invoice):
    Invoice.objects.update(language="ar")
    notifications.notify(invoice, Mail.Kind.SOLD)

    assert (
        '<html lang="en" dir="ltr">' in notifications.message(Mail.objects.get()).alternatives[0][0]
    )


# Once


@pytest.mark.parametrize("kind", Mail.Kind.values)
def test_each_kind_goes_out_once_however_often_it_is_asked_for(invoice, hear, kind):
    if kind == Mail.Kind.NEEDS:
        hear(amount=5)
    if kind == Mail.Kind.REFUND_REQUESTED:
        Refund.objects.create(
            invoice=invoice, attempt=invoice.attempt, destination=invoice.attempt.reference
        )
    settle_down(invoice)
    for _ in range(3):
        notifications.notify(invoice, kind)
    mailed = Mail.objects.get()
    for _ in range(3):
        tasks.send_mail.enqueue(mailed.pk)

    call_command("worker", "--once")
    notifications.send(mailed)

    assert len(mail.outbox) == 1
    assert set(DBTaskResult.objects.values_list("status", flat=True)) == {"SUCCESSFUL"}
    assert invoice.timeline.filter(kind="mailed").count() == 1


@pytest.mark.parametrize("kind", Mail.Kind.values)
def test_every_mail_names_the_order_and_a_way_on(invoice, kind, settings):
    notifications.notify(invoice, kind)

    message = notifications.message(Mail.objects.get())

    assert invoice.order in message.subject
    assert "20.00\u00a0USD" in message.subject + message.body
    # The link comes before the payment, and shows what to pay when it is followed.
    assert bool(re.search(r"[0-9]\.[0-9]{8} BTC", message.body)) is (kind != "created")
    assert re.search(rf"^{settings.SITE_URL}/\S+$", message.body, re.MULTILINE)
    assert "\n\n\n" not in message.body
    assert message.body == message.body.strip() + "\n"


@pytest.mark.parametrize("kind", Mail.Kind.values)
def test_no_mail_holds_a_secret(invoice, kind, settings):
    settings.BLOCKONOMICS_XPUB = "xpub-of-the-shop"
    notifications.notify(invoice, kind)

    text = str(notifications.message(Mail.objects.get()).message())

    for secret in (SECRET, settings.SECRET_KEY, settings.BLOCKONOMICS_API_KEY, "xpub-of-the-shop"):
        assert secret not in text


def test_no_mail_is_html_in_disguise(make_invoice, make_product, provider):
    product = make_product(title="Tom & Jerry <3 “best”")
    bought = checkout.place_order([Line(product)], provider)
    notifications.notify(bought, Mail.Kind.SOLD)

    assert "Tom & Jerry <3 “best”" in notifications.message(Mail.objects.get()).body


def test_the_message_id_is_constant_and_of_the_shops_host(invoice, settings):
    settings.DEFAULT_FROM_EMAIL = "Himalaya Prints <shop@prints.example>"
    notifications.notify(invoice, Mail.Kind.PAID)
    mailed = Mail.objects.get()

    names = {notifications.message(mailed).extra_headers["Message-ID"] for _ in range(3)}

    assert names == {f"<paid.{invoice.order_code}@prints.example>"}


def test_mails_of_several_kinds_and_orders_have_ids_of_their_own(make_invoice):
    invoices = [make_invoice(email=SHOPPER), make_invoice(email=SHOPPER)]
    for one in invoices:
        notifications.notify(one, *Mail.Kind.values)

    names = {notifications.message(each).extra_headers["Message-ID"] for each in Mail.objects.all()}

    assert len(names) == 2 * len(Mail.Kind)


@pytest.mark.django_db(transaction=True)
def test_a_rollback_leaves_no_mail(invoice):
    with pytest.raises(RuntimeError), transaction.atomic():
        notifications.notify(invoice, Mail.Kind.PAID)
        raise RuntimeError("the process dies before the commit")

    assert not Mail.objects.exists()
    assert not DBTaskResult.objects.exists()


# Not lost


def test_a_mail_server_that_fails_is_asked_again(invoice, monkeypatch, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    notifications.notify(invoice, Mail.Kind.PAID)
    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.EmailMessage.send", lambda self: 1 / 0)
        call_command("worker", "--once")
    assert not Mail.objects.get().sent_at
    assert not invoice.timeline.filter(kind="mailed").exists()

    time_machine.shift(worker.RETRY_AFTER[0])
    call_command("worker", "--once")

    assert len(mail.outbox) == 1
    assert Mail.objects.get().sent_at == timezone.now()


def test_a_mail_that_another_worker_is_about_is_neither_sent_nor_forgotten(
    invoice, settings, time_machine
):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    notifications.notify(invoice, Mail.Kind.PAID)
    Mail.objects.update(claimed_at=timezone.now())

    with pytest.raises(MailIsBusy):
        notifications.send(Mail.objects.get())
    time_machine.shift(settings.TASK_LEASE)
    notifications.send(Mail.objects.get())

    assert len(mail.outbox) == 1


def test_a_worker_that_dies_before_its_note_sends_the_same_id_again(
    invoice, monkeypatch, settings, time_machine
):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    notifications.notify(invoice, Mail.Kind.PAID)

    def die(self, *line):
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(Invoice, "log", die)
        with pytest.raises(SystemExit):
            notifications.send(Mail.objects.get())
    time_machine.shift(settings.TASK_LEASE)
    notifications.send(Mail.objects.get())

    assert len({message.extra_headers["Message-ID"] for message in mail.outbox}) == 1
    assert invoice.timeline.filter(kind="mailed").count() == 1


def test_a_mail_leaves_a_line_with_its_kind_and_its_address(invoice):
    notifications.notify(invoice, Mail.Kind.PAID)
    call_command("worker", "--once")

    line = invoice.timeline.last()

    assert (line.kind, line.by) == ("mailed", "worker")
    assert line.note == f"Receipt and goods, to {SHOPPER}"


def test_the_desk_shows_what_was_mailed_and_what_was_not_yet(invoice, admin_client):
    notifications.notify(invoice, Mail.Kind.PAID)
    call_command("worker", "--once")
    notifications.notify(invoice, Mail.Kind.SOLD)

    page = admin_client.get(f"/admin/payments/invoice/{invoice.pk}/change/").content.decode()

    assert "Receipt and goods" in page and SHOPPER in page
    assert page.count('class="field-sent_at"') == 2
    assert re.search(r'class="field-sent_at">\s*<p>-</p>', page)


def test_a_mail_server_that_says_nothing_is_not_waited_for_for_ever(settings):
    assert 0 < settings.EMAIL_TIMEOUT < settings.TASK_LEASE.total_seconds() / 4
