"""How reports of money get into the books: one room for callbacks, watcher and reconciliation.

A report is applied to its invoice under the invoice's lock; what it changes is settled, told and
followed up by rows of the same database transaction. Hearing it twice, late or out of order
changes nothing that was known better.
"""

import contextlib
from datetime import datetime
from decimal import Decimal

from django.core.exceptions import BadRequest
from django.db import transaction
from django.db.models import prefetch_related_objects
from django.http import HttpRequest
from django.utils import timezone

from . import database, live, notifications, outbox, review, settling, strays
from .models import Callback, Event, Invoice, Mail, PaymentAttempt, Transaction
from .models.callback import storable
from .models.transaction import depth_in_words
from .providers.base import (
    NotApplicable,
    Outcome,
    PricesInMarket,
    Provider,
    ProviderError,
    Result,
    TransactionReport,
)

Kind = Event.Kind
# Of several reports in one callback, the one that most wants to be seen is shown.
RESULTS = [Result.KNOWN, Result.RECORDED, Result.UNKNOWN_REFERENCE]

# After these, another payment to the same attempt may have become void.
MOVED = {Kind.SEEN, Kind.CONFIRMED, Kind.RETURNED}

# Callbacks


def receive_callback(provider: Provider, request: HttpRequest) -> list[Outcome]:
    """Stores what an authentic sender reports, then brings it into the books.

    Raises PermissionDenied or MethodNotAllowed (nothing is stored), BadRequest (stored as
    malformed), or whatever went wrong here (stored as failed, if the database still can).
    """
    content = provider.authenticate(request)
    callback = Callback.objects.create(
        provider=provider.slug,
        query=storable(content.query),
        body=storable(content.body),
        credential=content.credential,
    )
    return _process(callback, provider, by="callback")


def process_again(callback: Callback, provider: Provider, by: str):
    """Judges once more what the inbox keeps, say after a fault was mended; raises what goes wrong.

    Whatever was in the books already stays as it is. What it changes has in the timeline who
    asked for it.
    """
    with contextlib.suppress(BadRequest):  # it is noted, and nobody else has to hear of it
        _process(callback, provider, f"{by}, callback {callback.pk} processed again")


def _process(callback: Callback, provider: Provider, by: str) -> list[Outcome]:
    """However late it is judged, a payment counts as seen when the callback came."""
    callback.outcome = Callback.Outcome.RECEIVED
    try:
        return [
            record_report(provider, report, by, callback.received_at, callback)
            for report in provider.parse(callback.content)
        ]
    except BadRequest as error:
        callback.conclude(Callback.Outcome.MALFORMED, note=str(error))
        raise
    except NotApplicable as reason:
        callback.conclude(Callback.Outcome.NOT_APPLICABLE, note=str(reason))
        return []
    except Exception as error:
        note = f"{type(error).__name__}: {error}"
        callback.conclude(Callback.Outcome.FAILED, callback.invoice, note)
        raise


# Reports, whoever brings them


def record_report(
    provider: Provider,
    report: TransactionReport,
    by: str = "callback",
    heard_at: datetime | None = None,
    callback: Callback | None = None,
) -> Outcome:
    """Brings one report into the books: lock, apply, settle; the one gate for news of money.

    Open pages are told after the commit. `heard_at` is when the shop heard of it first, if not
    just now. What became of it is written to the callback in the same database transaction.
    """
    heard_at = heard_at or timezone.now()
    try:
        return _record(provider, report, by, heard_at, callback)
    except RateNeeded as late:
        rate = _rate_or_none(provider, late.currency)
        return _record(provider, report, by, heard_at, callback, rate, may_ask=False)


class RateNeeded(Exception):
    """No quote covers the payment: its worth has to be asked for, but not under a lock."""

    def __init__(self, currency: str):
        super().__init__(currency)
        self.currency = currency


def _record(
    provider: Provider,
    report: TransactionReport,
    by: str,
    heard_at: datetime,
    callback: Callback | None,
    rate: Decimal | None = None,
    may_ask: bool = True,
) -> Outcome:
    means = {"attempts__provider": provider.slug, "attempts__reference": report.reference}
    result, is_final = Result.UNKNOWN_REFERENCE, False
    with transaction.atomic():
        invoice = Invoice.objects.locked().filter(**means).first()
        if invoice:
            attempt = _attempt_of(invoice, provider, report)
            if invoice.has_ended(heard_at) and not invoice.balance.has_unvalued:
                settling.end(invoice)
            if may_ask and _needs_rate(attempt, report, heard_at):
                raise RateNeeded(invoice.currency)
            changes = apply_report(attempt, report, rate, heard_at, by)
            apply_changes(invoice, changes, by)
            result = Result.RECORDED if changes else Result.KNOWN
            is_final = _is_final(invoice, attempt, report)
        if callback:
            first = callback.outcome not in RESULTS
            most_urgent = result if first else max(callback.outcome, result, key=RESULTS.index)
            callback.conclude(most_urgent, invoice or callback.invoice, report=report)
            if result == Result.UNKNOWN_REFERENCE:
                strays.alarm_once(callback)
    return Outcome(report, result, is_final)


def reconcile_history(
    provider: Provider,
    attempt: PaymentAttempt,
    history: list[TransactionReport],
    by: str,
    asked_at: datetime | None = None,
):
    """Brings the whole history of an attempt's reference into the books.

    A transaction that it lacks, now and at least DROP_AFTER ago, is marked as dropped: the one
    way back. At once, if it is in no block and a later one is: then it was replaced. Paid stays
    paid; then the merchant is alarmed. What was first heard of after `asked_at`, the history
    could not have.
    """
    for report in history:
        record_report(provider, report, by)
    present = {report.transaction_id for report in history}
    known = Transaction.objects.filter(attempt=attempt)
    absent = known.exclude(transaction_id__in=present).filter(
        first_seen__lte=asked_at or timezone.now()
    )
    mark_missing(attempt, set(absent.values_list("pk", flat=True)), by)


def mark_missing(attempt: PaymentAttempt, absent: set[int], by: str):
    """Notes that the network lacks these transactions of the attempt."""
    with transaction.atomic():
        invoice = Invoice.objects.locked().get(pk=attempt.invoice_id)
        attempt = _attempt_in(invoice, attempt.pk)
        changes = []
        for row in attempt.transactions.all():
            if row.pk in absent:
                successors = [] if row.is_in_block else attempt.payments_after(row)
                is_replaced = any(later.is_in_block for later in successors)
                changes += row.mark_missing(timezone.now(), is_replaced)
        apply_changes(invoice, changes, by)


def flag_unverified(invoice: Invoice, payment: Transaction):
    """A callback told more of this payment than the network: a person has to look at it."""
    with transaction.atomic():
        invoice = Invoice.objects.locked().get(pk=invoice.pk)
        for row in invoice.unverified_transactions:
            if row.pk == payment.pk:
                known = _verified_in_words(row)
                reason = f"a callback reported what the network {known}: {row.transaction_id}"
                review.flag_for_review(invoice, reason, by="verification")


# What a report changes. The caller holds the invoice's lock; changes are (kind, note) lines.


def apply_report(
    attempt: PaymentAttempt, report: TransactionReport, rate: Decimal | None, at: datetime, by: str
) -> list:
    """Notes one report among the attempt's transactions; returns what it has changed.

    A transaction first seen while the quote stands keeps the quote's rate, a late one gets
    `rate`, the market's. It only ever advances.
    """
    promised = attempt.quoted_rate_at(at)
    late = promised is None
    rate = rate if late else promised
    known = {row.transaction_id: row for row in attempt.transactions.all()}
    if row := known.get(report.transaction_id):
        honored = [] if late or attempt.invoice.paid_at else row.honor_earlier_quote(promised, at)
        doubts = attempt.invoice.balance.in_doubt
        changes = honored + row.update_from(report, rate, at, by)
        if not changes and attempt.invoice.balance.in_doubt != doubts:
            changes = [(Kind.VERIFIED, f"{row.transaction_id}: beside the later payments")]
        return changes
    row = Transaction.first_reported(report, rate, late, at, by)
    attempt.transactions.add(row, bulk=False)
    prefetch_related_objects([attempt], "transactions")
    return row.first_changes()


def value_unvalued(attempt: PaymentAttempt, rate: Decimal, by: str):
    """Values, at the market's rate, what came when no rate could be had."""
    changes = []
    for row in attempt.transactions.all():
        if row.rate is None and row.dropped_at is None:
            changes += row.value_at(rate)
            row.save(update_fields=["rate"])
    apply_changes(attempt.invoice, changes, by)


def apply_changes(invoice: Invoice, changes: list, by: str):
    """Does what changes cause, in the same database transaction."""
    if not changes:
        return
    changes = [line for line in changes if not _is_old_doubt(invoice, *line)]
    changes += _stray_money(invoice, changes)
    for kind, note in changes:
        invoice.log(kind, by, note)
    settling.settle(invoice, timezone.now(), by)
    for kind, note in changes:
        if kind == Kind.REVIEW:
            review.ask_for_review(invoice, note)
    if any(kind == Kind.DROPPED for kind, _ in changes):
        _follow_up_loss(invoice, by)
    else:
        notifications.ask_for_the_rest(invoice)
    kinds = {kind for kind, _ in changes}
    if invoice.waits_for_verification and kinds != {Kind.MISSED}:
        outbox.enqueue(outbox.VERIFY, invoice.pk)
    if kinds & MOVED:
        _ask_what_still_stands(invoice)
    live.announce_after_commit(invoice)


def _ask_what_still_stands(invoice: Invoice):
    """One payment may have taken another's place, or one that was given up may be back."""
    for attempt in invoice.attempts.all():
        if attempt.payments_in_question:
            outbox.enqueue(outbox.LOOK_AGAIN, attempt.pk)


def _follow_up_loss(invoice: Invoice, by: str):
    """Paid stays paid, but the merchant is alarmed if what is left does not cover it."""
    if not invoice.paid_at:
        notifications.notify(invoice, Mail.Kind.UNCOVERED, Mail.Kind.ALARM)
    elif invoice.balance.confirmed < invoice.policy.least_accepted(invoice.total):
        reason = "a payment vanished from the network after the invoice was paid"
        invoice.log(Kind.REVIEW, by, reason)
        review.ask_for_review(invoice, reason, is_told=True)
        notifications.notify(invoice, Mail.Kind.VANISHED)


def _is_old_doubt(invoice: Invoice, kind: str, note: str) -> bool:
    """Whether a person was asked about that very thing before: hearing it twice is no news."""
    return kind == Kind.REVIEW and invoice.timeline.filter(kind=kind, note=note).exists()


def _stray_money(invoice: Invoice, changes: list) -> list:
    """Money that comes when nothing is sold any more, or after the refund, wants a person."""
    kinds = {kind for kind, _ in changes}
    new = {Kind.SEEN, Kind.RETURNED}
    is_over = invoice.paid_at or invoice.cancelled_at
    if is_over and kinds & (new | {Kind.CONFIRMED}) and invoice.refunds.sent().exists():
        reason = "money came after the refund"
    elif kinds & new and invoice.cancelled_at:
        reason = "money came after the order was cancelled"
    else:
        return []
    return [] if reason in invoice.review else [(Kind.REVIEW, reason)]


# What is known of a report before and after


def _attempt_of(invoice: Invoice, provider: Provider, report) -> PaymentAttempt:
    meant = (provider.slug, report.reference)
    return next(row for row in invoice.attempts.all() if (row.provider, row.reference) == meant)


def _attempt_in(invoice: Invoice, pk: int) -> PaymentAttempt:
    return next(row for row in invoice.attempts.all() if row.pk == pk)


def _is_final(invoice: Invoice, attempt: PaymentAttempt, report: TransactionReport) -> bool:
    """Whether the reported payment has the confirmations that the policy asks for."""
    enough = invoice.policy.enough_confirmations(invoice.total)
    rows = [row for row in attempt.transactions.all() if not row.dropped_at]
    found = [row for row in rows if row.transaction_id == report.transaction_id]
    return any(row.as_payment().is_confirmed(enough) for row in found)


def _verified_in_words(row: Transaction) -> str:
    if row.verified_confirmations is None:
        return "knows nothing of"
    seen = TransactionReport("", "", row.amount, row.verified_confirmations)
    return f"calls {depth_in_words(seen)}"


def _needs_rate(attempt: PaymentAttempt, report: TransactionReport, heard_at: datetime) -> bool:
    """Whether no quote covers the payment, and none gave it its worth before."""
    known = {row.transaction_id: row.rate for row in attempt.transactions.all()}
    return known.get(report.transaction_id) is None and attempt.quoted_rate_at(heard_at) is None


def _rate_or_none(provider: Provider, currency: str) -> Decimal | None:
    """The market's rate; None if it cannot be had: money is recorded all the same."""
    try:
        return market_rate(provider, currency)
    except ProviderError:
        return None


def market_rate(provider: Provider, currency: str) -> Decimal:
    """What one whole of the provider's asset costs; 1 where it is paid in the currency itself."""
    if not isinstance(provider, PricesInMarket):
        return Decimal(1)
    database.release()
    return provider.market_rate(currency)
