"""Promises to shoppers: "this much until then".

A quote never changes by itself. A new one follows only when the old one is over or too little
came, and asks for what is still missing.
"""

from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from . import database, ingestion, live, stock
from .models import Event, Invoice, PaymentAttempt
from .models.invoice import SHOPPER
from .providers.base import (
    OrderLine,
    PaymentInstructions,
    PaymentOrder,
    PricesInMarket,
    Provider,
    ProviderRefused,
)
from .settlement import Settlement


def may_requote(invoice: Invoice, at: datetime) -> bool:
    """A quote stands until it is over, or until too little came in.

    While a person has to look at money that came, nobody is asked for more; nor is anything
    promised to an order whose time is over.
    """
    if invoice.has_ended(at):
        return False
    settlement = invoice.settlement_at(at)
    is_short = settlement == Settlement.UNDERPAID and not invoice.is_looked_into
    return is_short or settlement == Settlement.EXPIRED


def requote(invoice: Invoice, provider: Provider, by: str = SHOPPER) -> bool:
    """Makes a new quote for what is still missing; False if the old one stands.

    Where the price moves it is a quote on the same reference, else a new attempt. Raises
    ProviderError when there is none to be had, OutOfStock when others were quicker.
    """
    if not may_requote(invoice, timezone.now()):
        return False
    seen = invoice.attempt.pk, invoice.balance.missing
    rate = ingestion.market_rate(provider, invoice.currency)
    if isinstance(provider, PricesInMarket):
        with transaction.atomic():
            return _requote_locked(invoice, rate, seen, by)
    fresh = start_attempt(invoice, provider, invoice.balance.missing)
    with saving(provider, fresh), transaction.atomic():
        is_new = _requote_locked(invoice, rate, seen, by, fresh)
    if not is_new:
        provider.close(fresh.reference)
    return is_new


def _requote_locked(
    invoice: Invoice,
    rate: Decimal,
    seen: tuple[int, Decimal],
    by: str,
    fresh: PaymentAttempt | None = None,
) -> bool:
    """Writes the new quote down, or the fresh attempt, if there is still need of it.

    `seen` are the attempt and the missing sum before the service was asked. The rate is that
    attempt's, and a fresh one asks for that sum: what has changed meanwhile wants another question.
    """
    invoice = Invoice.objects.locked().get(pk=invoice.pk)
    if invoice.attempt.pk != seen[0] or fresh and invoice.balance.missing != seen[1]:
        return False
    ingestion.value_unvalued(invoice.attempt, rate, by)
    if not may_requote(invoice, timezone.now()):
        return False
    if fresh:
        fresh.save(force_insert=True)
        invoice = Invoice.objects.with_payments().get(pk=invoice.pk)
    else:
        _renew(invoice.attempt, rate, invoice.balance.missing)
    stock.reserve(invoice)
    invoice.save(update_fields=["updated_at"])
    invoice.log(Event.Kind.QUOTED, by, invoice.attempt.quote_in_words())
    live.announce_after_commit(invoice)
    return True


def _renew(attempt: PaymentAttempt, rate: Decimal, missing: Decimal):
    attempt.earlier_quotes.create(
        rate=attempt.rate,
        due=attempt.due,
        quoted_at=attempt.quoted_at,
        expires_at=attempt.expires_at,
    )
    attempt.set_quote(rate, attempt.asset.to_units(missing, rate), at=timezone.now())
    attempt.save(update_fields=["rate", "due", "quoted_at", "expires_at"])


def start_attempt(
    invoice: Invoice, provider: Provider, total: Decimal, lines: tuple[OrderLine, ...] = ()
) -> PaymentAttempt:
    """Asks the provider to collect `total`; the attempt is not saved yet. Raises ProviderError.

    No reference is ever used twice: two shoppers could claim one payment.
    """
    attempt = PaymentAttempt(invoice=invoice, provider=provider.slug)
    order = PaymentOrder(
        order_code=invoice.order_code,
        token=attempt.token,
        total=total,
        currency=invoice.currency,
        lines=lines,
        email=invoice.email,
        language=invoice.language,
    )
    instructions = _start_unused(order, provider)
    attempt.reference = instructions.reference
    attempt.redirect_url = instructions.redirect_url
    attempt.asset_code = instructions.asset.code
    attempt.asset_decimals = instructions.asset.decimals
    attempt.set_quote(instructions.rate, instructions.due, timezone.now(), instructions.expires_at)
    return attempt


def _start_unused(order: PaymentOrder, provider: Provider) -> PaymentInstructions:
    for _attempt in range(2):
        database.release()
        instructions = provider.start(order)
        if not is_used(instructions.asset.code, instructions.reference):
            return instructions
    raise reference_is_used(provider)


@contextmanager
def saving(provider: Provider, attempt: PaymentAttempt):
    """Guards the writing of a new attempt: what cannot be written, nobody was shown.

    Then the provider may have its reference back, unless two requests at once were given the same
    one: the other request has it now, and ProviderRefused is raised.
    """
    try:
        yield
    except IntegrityError as error:
        if not is_used(attempt.asset_code, attempt.reference):
            raise
        raise reference_is_used(provider) from error
    except Exception:
        provider.close(attempt.reference)
        raise


def is_used(asset_code: str, reference: str) -> bool:
    """Whether an attempt has the reference; two services may watch one wallet."""
    attempts = PaymentAttempt.objects.filter(asset_code=asset_code, reference=reference)
    return attempts.exists()


def reference_is_used(provider: Provider) -> ProviderRefused:
    return ProviderRefused(
        f"{provider.slug} gave an address that already belongs to another invoice. Look at "
        "the wallet's address index in its dashboard; nobody was shown that address again.",
        _(
            "The payment service gave us an address that is already in use, so we do not show it "
            "to you."
        ),
    )
