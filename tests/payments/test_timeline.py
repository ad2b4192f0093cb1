"""The timeline: each change of an invoice leaves a line, in its own transaction, for good."""

from datetime import timedelta

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.management import call_command
from django.db import transaction
from django.db.models import ProtectedError
from django.utils import timezone

from payments import ingestion, notifications, quoting, review
from payments.models import Event, Invoice, Mail, PaymentAttempt, Transaction
from tests.conftest import address, report, txid


@pytest.fixture
def noon(time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    return time_machine


def lines(invoice):
    return [(line.kind, line.by, line.note) for line in invoice.timeline.all()]


def story(invoice):
    return [line.kind for line in invoice.timeline.all()]


# Each change leaves a line


def test_a_purchase_leaves_its_quote(noon, invoice):
    (line,) = invoice.timeline.all()

    assert line.at == timezone.now()
    assert (line.kind, line.by) == ("created", "shopper")
    assert line.note == "0.00010000 BTC at 100000 USD until 2026-03-01 12:15:00 UTC"


def test_a_new_quote_leaves_a_line(noon, invoice, provider):
    noon.shift(timedelta(minutes=16))

    quoting.requote(invoice, provider)

    assert lines(invoice)[1:] == [
        ("quoted", "shopper", "0.00010000 BTC at 100000 USD until 2026-03-01 12:31:00 UTC")
    ]


def test_a_quote_that_stands_leaves_none(invoice, provider):
    assert not quoting.requote(invoice, provider)
    assert story(invoice) == ["created"]


def test_a_payments_whole_way_is_told_in_its_order(invoice, hear):
    for status in (0, 1, 2):
        hear(status=status)

    assert lines(invoice)[1:] == [
        ("seen", "callback", f"0.00010000 BTC at 100000 USD, {txid(1)}".replace(" USD", "")),
        ("covered", "callback", ""),
        ("confirmed", "callback", f"{txid(1)}: partially confirmed"),
        ("confirmed", "callback", f"{txid(1)}: confirmed"),
        ("paid", "callback", ""),
    ]


def test_a_payment_first_seen_when_it_is_confirmed_tells_both(invoice, hear):
    hear(status=2)

    assert story(invoice) == ["created", "seen", "confirmed", "paid"]


@pytest.mark.parametrize("by", ["callback", "watcher", "reconcile", "verification"])
def test_who_told_of_it_stands_in_each_line(invoice, hear, by):
    hear(by=by)

    assert {line.by for line in invoice.timeline.exclude(kind="created")} == {by}


def test_what_others_than_callbacks_saw_is_verified(invoice, hear):
    hear(status=1)
    hear(status=1, by="watcher")
    hear(status=2, by="reconcile", number=2)

    verified = [line for line in lines(invoice) if line[0] == "verified"]

    assert verified == [
        ("verified", "watcher", f"{txid(1)}: partially confirmed"),
        ("verified", "reconcile", f"{txid(2)}: confirmed"),
    ]


def test_a_replaceable_payment_is_told(invoice, hear):
    hear(status=0)
    hear(status=0, is_replaceable=True)

    assert lines(invoice)[-1] == ("seen", "callback", f"{txid(1)} is marked as replaceable")


def test_paid_after_the_quote_was_over_is_told_as_such(noon, invoice, hear):
    noon.shift(timedelta(minutes=17))

    hear()

    assert story(invoice) == ["created", "seen", "confirmed", "paid-late"]


def test_a_worth_that_was_found_later_is_told(noon, invoice, hear, service):
    noon.shift(timedelta(minutes=17))
    cache.clear()  # Redis goes by a clock of its own
    service.answers["price"] = (500, "")
    hear(status=0)
    service.answers["price"] = None

    hear(status=0)

    assert lines(invoice)[1] == ("seen", "callback", f"0.00010000 BTC of unknown worth, {txid(1)}")
    assert ("valued", "callback", f"{txid(1)} at 100000") in lines(invoice)


def test_a_new_quote_that_values_a_payment_tells_its_worth(noon, invoice, hear, service, provider):
    noon.shift(timedelta(minutes=17))
    cache.clear()  # Redis goes by a clock of its own
    service.answers["price"] = (500, "")
    hear(status=0, amount=4_000)
    service.answers["price"] = None

    quoting.requote(Invoice.objects.get(), provider)

    assert ("valued", "shopper", f"{txid(1)} at 100000") in lines(invoice)
    assert story(invoice)[-1] == "quoted"


def test_a_loss_and_a_return_are_told(invoice, hear, vanish):
    hear(status=1)
    vanish()
    hear(status=1, by="watcher")

    told = story(invoice)

    assert [kind for kind in told if kind in ("dropped", "uncovered", "returned")] == [
        "dropped",
        "uncovered",
        "returned",
    ]
    assert ("dropped", "reconcile", txid(1)) in lines(invoice)


def test_a_loss_after_paid_calls_for_a_person(invoice, hear, vanish):
    hear()
    vanish()

    assert story(invoice)[-2:] == ["dropped", "review"]
    assert "after the invoice was paid" in lines(invoice)[-1][2]


def test_a_download_is_told_with_its_title(invoice, hear, client):
    hear()

    path = f"{invoice.get_absolute_url()}download/{invoice.lines.get().pk}/"
    b"".join(client.get(path).streaming_content)

    assert lines(invoice)[-1] == ("downloaded", "shopper", "Mountain")


def test_a_look_at_the_headers_is_no_download(invoice, hear, client):
    hear()

    path = f"{invoice.get_absolute_url()}download/{invoice.lines.get().pk}/"
    b"".join(client.head(path).streaming_content)

    assert "downloaded" not in story(invoice)


def test_a_download_that_was_refused_is_none(invoice, client):
    client.get(f"{invoice.get_absolute_url()}download/{invoice.lines.get().pk}/")

    assert story(invoice) == ["created"]


def test_mail_and_hand_are_told(make_invoice):
    invoice = make_invoice(email="buyer@example.com")
    notifications.notify(invoice, Mail.Kind.PAID)
    call_command("worker", "--once")
    review.flag_for_review(invoice, "something odd", by="worker")

    review.mark_as_reviewed(Invoice.objects.get(), by="merchant clerk")

    assert len(mail.outbox) == 1
    assert lines(invoice)[1:] == [
        ("mailed", "worker", "Receipt and goods, to buyer@example.com"),
        ("review", "worker", "something odd"),
        ("staff-action", "merchant clerk", "reviewed: something odd"),
    ]


def test_what_changes_nothing_leaves_nothing(invoice, hear):
    hear(status=2)
    before = lines(invoice)

    hear(status=2)
    hear(status=1)
    hear(status=0)

    assert lines(invoice) == before


def test_every_kind_of_line_has_words(invoice):
    assert all(label and len(kind) <= 20 for kind, label in Event.Kind.choices)


def test_a_long_story_fits(invoice):
    invoice.log(Event.Kind.REVIEW, "x" * 1_000, "y" * 1_000)

    line = invoice.timeline.last()
    assert (len(line.by), len(line.note)) == (160, 300)


# In the transaction of what it tells


@pytest.mark.django_db(transaction=True)
def test_a_rollback_takes_the_lines_with_it(invoice, provider):
    with pytest.raises(RuntimeError), transaction.atomic():
        ingestion.record_report(provider, report(invoice, 1, invoice.attempt.due, 2))
        assert story(invoice) == ["created", "seen", "confirmed", "paid"]
        raise RuntimeError("the process dies before the commit")

    assert story(invoice) == ["created"]
    assert not Transaction.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["create", "pay", "requote", "review", "close", "mail", "drop"])
def test_a_line_that_cannot_be_written_takes_the_change_with_it(
    make_invoice, provider, monkeypatch, settings, change
):
    settings.DROP_AFTER = timedelta(0)
    invoice = make_invoice(email="buyer@example.com")
    notifications.notify(invoice, Mail.Kind.PAID)
    if change == "close":
        review.flag_for_review(invoice, "something odd", by="worker")
        invoice.refresh_from_db()
    if change == "drop":
        told = report(invoice, 2, 5, 0)
        ingestion.record_report(provider, told)
        ingestion.reconcile_history(provider, invoice.attempt, [], by="reconcile")
    if change == "requote":
        PaymentAttempt.objects.update(expires_at=timezone.now() - timedelta(hours=1))
        invoice.refresh_from_db()
    before = everything()

    def fail(self, *args, **kwargs):
        raise RuntimeError("no room for the line")

    monkeypatch.setattr(Event, "save", fail)
    changes = {
        "create": make_invoice,
        "pay": lambda: ingestion.record_report(
            provider, report(invoice, 1, invoice.attempt.due, 2)
        ),
        "requote": lambda: quoting.requote(invoice, provider),
        "review": lambda: review.flag_for_review(invoice, "odd", by="worker"),
        "close": lambda: review.mark_as_reviewed(invoice, by="merchant clerk"),
        "mail": lambda: notifications.send(Mail.objects.get(kind="paid")),
        "drop": lambda: ingestion.reconcile_history(provider, invoice.attempt, [], by="reconcile"),
    }
    with pytest.raises(RuntimeError, match="no room"):
        changes[change]()

    assert everything() == before


def everything():
    return [
        list(Invoice.objects.order_by("pk").values()),
        list(Transaction.objects.order_by("pk").values()),
        list(Mail.objects.order_by("pk").values("kind", "sent_at")),
        list(Event.objects.values()),
    ]


# Append-only


@pytest.mark.parametrize(
    "attempt",
    [
        lambda line: line.save(),
        lambda line: line.save(update_fields=["note"]),
        lambda line: line.save(force_update=True),
        lambda line: line.delete(),
        lambda line: Event(pk=line.pk, invoice=line.invoice, kind="paid", by="me").save(),
        lambda line: Event.objects.update(note="forged"),
        lambda line: Event.objects.filter(pk=line.pk).update(note="forged"),
        lambda line: Event.objects.all().delete(),
        lambda line: Event.objects.filter(pk=line.pk).delete(),
        lambda line: line.invoice.timeline.all().delete(),
        lambda line: line.invoice.timeline.update(note="forged"),
        lambda line: Event.objects.bulk_update([line], ["note"]),
        lambda line: Event.objects.bulk_create(
            [line], update_conflicts=True, update_fields=["note"], unique_fields=["id"]
        ),
        lambda line: Event.objects.update_or_create(pk=line.pk, defaults={"note": "forged"}),
    ],
)
def test_a_line_is_written_once_and_never_changed(invoice, attempt):
    line = invoice.timeline.get()
    before = Event.objects.values().get()
    line.note = "forged"

    with pytest.raises(TypeError, match="append-only"), transaction.atomic():
        attempt(line)

    assert Event.objects.values().get() == before


def test_an_invoice_with_a_timeline_stays(invoice):
    with pytest.raises(ProtectedError):
        invoice.delete()


def test_the_desk_shows_the_timeline_in_order_and_offers_no_change(invoice, hear, admin_client):
    for status in (0, 2):
        hear(status=status)

    page = admin_client.get(f"/admin/payments/invoice/{invoice.pk}/change/").content.decode()

    labels = ["Created", "Payment seen", "Covered by what was seen", "Payment confirmed", "Paid"]
    places = [page.index(f"<p>{label}</p>") for label in labels]
    assert places == sorted(places)
    assert "timeline-0-DELETE" not in page
    assert 'name="timeline-0-note"' not in page
    assert admin_client.get("/admin/payments/event/").status_code == 404


def test_lines_of_one_moment_keep_their_order(noon, invoice, hear):
    hear()

    assert len({line.at for line in invoice.timeline.all()}) == 1
    assert story(invoice) == ["created", "seen", "confirmed", "paid"]


def test_each_invoice_has_a_timeline_of_its_own(make_invoice, provider):
    one, other = make_invoice(), make_invoice()

    ingestion.record_report(provider, report(one, 1, one.attempt.due, 2))

    assert story(other) == ["created"]
    assert other.attempt.reference == address(1)
