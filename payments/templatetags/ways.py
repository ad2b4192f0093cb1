"""{% load ways %}: an invoice may be paid by several ways, each told by templates of its own."""

from decimal import Decimal

from django import template

from payments import money, providers
from payments.presentation import PayTemplates
from payments.templatetags.money import units

register = template.Library()


@register.filter
def pay_templates(attempt) -> PayTemplates:
    """{% with pay=payment.attempt|pay_templates %}: a payment is told by the way that it came"""
    return PayTemplates(providers.get(attempt.provider))


@register.simple_tag
def ways_to_pay() -> list[PayTemplates]:
    """{% ways_to_pay as ways %}: the templates of all that is on offer, on pages without context"""
    families = {provider.family: provider for provider in providers.ways_to_pay()}
    return [PayTemplates(provider) for provider in families.values()]


@register.filter
def received(invoice) -> str:
    """{{ invoice|received }} → 0.00010000 BTC; what came by several ways is told way by way"""
    return _by_way(invoice, "received")


@register.filter
def confirmed(invoice) -> str:
    """{{ invoice|confirmed }} → 0.00010000 BTC; what came by several ways is told way by way"""
    return _by_way(invoice, "confirmed")


def _by_way(invoice, figure: str) -> str:
    balance = invoice.balance
    amounts = [
        (attempt, getattr(balance.tally(attempt.pk), figure)) for attempt in invoice.attempts.all()
    ]
    came = [units(amount, attempt) for attempt, amount in amounts if amount]
    return ", ".join(came) or units(0, invoice.attempt)


@register.filter
def worth(payments) -> Decimal:
    """{{ payments|worth|fiat }} → what these payments are worth together"""
    return money.add_up(payment.value for payment in payments or [])
