"""What the facts of an invoice amount to. Pure: it knows no Django, no database and no clock."""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from .money import EXACT, Asset, add_up
from .policy import Policy


class Settlement(StrEnum):
    """How an invoice stands, the words for it are in `presentation`."""

    WAITING = "waiting"
    EXPIRED = "expired"
    UNDERPAID = "underpaid"
    CONFIRMING = "confirming"
    PAID = "paid"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Payment:
    """One transaction that the network still knows, as far as it matters for a settlement.

    `way` names the payment attempt it belongs to, `key` the transaction. `rate` is None while its
    worth is not known. `verified_confirmations` is None while a callback alone has told of it.
    A payment that was first seen after `may_be_resent_after` may be this very money, sent anew
    with a higher fee; None: no other payment is.
    """

    way: Hashable
    asset: Asset
    amount: int
    rate: Decimal | None
    confirmations: int
    is_final: bool = False
    is_replaceable: bool = False
    verified_confirmations: int | None = None
    key: Hashable = None
    seen_at: datetime | None = None
    may_be_resent_after: datetime | None = None

    @property
    def value(self) -> Decimal:
        """Its worth in fiat; nothing until a rate is known."""
        return self.asset.to_fiat(self.amount, self.rate) if self.rate else Decimal(0)

    def is_confirmed(self, enough: int, must_be_verified: bool = False) -> bool:
        """Whether it counts, with `enough` confirmations or final.

        A replaceable unconfirmed payment never does. `must_be_verified`: what callbacks alone
        have said is not enough.
        """
        if self.is_replaceable or not (self.is_final or self.confirmations >= enough):
            return False
        return not must_be_verified or (
            self.verified_confirmations is not None
            and self.verified_confirmations >= min(enough, self.confirmations)
        )


@dataclass(frozen=True)
class Tally:
    """What came by one way to pay, in whole smallest units of its asset; each coin counts once."""

    asset: Asset | None = None
    received: int = 0
    confirmed: int = 0
    excess: int = 0


@dataclass(frozen=True)
class Balance:
    """What an invoice's payments add up to, in fiat, and how the invoice stands.

    `is_paid` says that it was settled as paid once and for all.
    `missing` has not been seen yet; `excess` is confirmed beyond the total. `confirmed_payments`
    stand in the order in which they came; `unverified` are those that wait for another word than
    a callback's. `in_doubt` has the keys of payments that may be the same money as a later one:
    of the two, the larger counts. `tallies` has the units, way by way.
    """

    total: Decimal
    settlement: Settlement
    is_paid: bool
    is_quote_over: bool
    payments: tuple[Payment, ...] = ()
    confirmed_payments: tuple[Payment, ...] = ()
    unverified: tuple[Payment, ...] = ()
    in_doubt: frozenset[Hashable] = frozenset()
    received: Decimal = Decimal(0)
    confirmed: Decimal = Decimal(0)
    tallies: Mapping[Hashable, Tally] = field(default_factory=dict)

    @property
    def missing(self) -> Decimal:
        return max(self.total - self.received, Decimal(0))

    @property
    def excess(self) -> Decimal:
        return max(self.confirmed - self.total, Decimal(0))

    @property
    def has_unvalued(self) -> bool:
        """Whether the worth of a payment is not known, as there was no rate when it was seen."""
        return any(payment.rate is None for payment in self.payments)

    @property
    def asks_for_more(self) -> bool:
        """Whether something is to be paid, as far as the worth of all that came is known."""
        done = (Settlement.PAID, Settlement.CONFIRMING, Settlement.CANCELLED)
        return self.settlement not in done and not self.has_unvalued

    @property
    def is_short(self) -> bool:
        """Whether a payment came whose worth is known, and it was too little."""
        return self.settlement == Settlement.UNDERPAID and not self.has_unvalued

    def tally(self, way: Hashable) -> Tally:
        return self.tallies.get(way, Tally())

    def refundable(
        self, policy: Policy, backordered: Decimal, refunded: Mapping[Hashable, int]
    ) -> dict[Hashable, int]:
        """The units that have to go back, way by way, as far as they are confirmed and not sent.

        All of them if the order is cancelled, or if they came and never covered it and the quote
        is over; of a paid order, what was paid too much or for goods that are sold out
        (`backordered`, in fiat). Nothing while the worth of a payment is being found out, and
        nothing that is too little to be sent.
        """
        rests = {}
        for way, tally in self.tallies.items():
            rest = self._owed(tally, backordered) - refunded.get(way, 0)
            rests[way] = rest if rest >= policy.smallest_payment(tally.asset.code) else 0
        return rests

    def _owed(self, tally: Tally, backordered: Decimal) -> int:
        if self.is_paid:
            paid = tally.confirmed - tally.excess
            return min(tally.excess + int(paid * backordered / self.total), tally.confirmed)
        never_covered = self.is_short and self.is_quote_over
        if self.settlement == Settlement.CANCELLED or never_covered:
            return tally.confirmed
        return 0


def assess(
    total: Decimal,
    payments: Iterable[Payment],
    policy: Policy,
    at: datetime,
    expires_at: datetime,
    is_paid: bool = False,
    is_cancelled: bool = False,
) -> Balance:
    """Draws the balance and the settlement from the facts as they stand at that moment.

    `payments` come in the order in which they were first seen; `expires_at` is when the quote
    ends. What was once settled as paid (`is_paid`) stays so, whatever vanishes.
    """
    enough, must_verify = policy.enough_confirmations(total), policy.must_verify(total)
    payments = tuple(payments)
    doubles = _doubles(payments, lambda payment: payment.value)
    confirmed = tuple(each for each in payments if each.is_confirmed(enough, must_verify))
    unverified = [each for each in payments if each.is_confirmed(enough) and each not in confirmed]
    balance = Balance(
        total=total,
        settlement=Settlement.CANCELLED,
        is_paid=is_paid,
        is_quote_over=at >= expires_at,
        payments=payments,
        confirmed_payments=confirmed,
        unverified=() if is_paid or not must_verify else tuple(unverified),
        in_doubt=frozenset(payment.key for payment, _ in doubles),
        received=add_up(each.value for each in payments) - add_up(value for _, value in doubles),
        confirmed=add_up(each.value for each in confirmed),
        tallies=_tallies(total, payments, confirmed),
    )
    if is_cancelled:
        return balance
    return replace(balance, settlement=_settlement(balance, policy.least_accepted(total)))


def _settlement(balance: Balance, least: Decimal) -> Settlement:
    """How an invoice stands that nobody cancelled: the strongest fact decides."""
    if balance.is_paid or balance.confirmed >= least:
        return Settlement.PAID
    if balance.received >= least:
        return Settlement.CONFIRMING
    if any(payment.amount for payment in balance.payments):
        return Settlement.UNDERPAID
    return Settlement.EXPIRED if balance.is_quote_over else Settlement.WAITING


def _excess_units(total: Decimal, confirmed: Iterable[Payment]) -> dict[Hashable, int]:
    """The whole units that were not needed to cover the total, way by way.

    Payments cover it in the order in which they came. What is beyond keeps the rate at which it
    came: nobody gains by waiting for another one.
    """
    open_, beyond = total, {}
    for payment in confirmed:
        if payment.value > open_:
            surplus = payment.amount - payment.asset.to_units(open_, payment.rate)
            beyond[payment.way] = beyond.get(payment.way, 0) + surplus
        open_ = max(EXACT.subtract(open_, payment.value), Decimal(0))
    return beyond


def _doubles(payments: Sequence[Payment], worth: Callable) -> list[tuple[Payment, Decimal | int]]:
    """The payments that may be the same money as a later one to the same way, with the worth by
    which the two must not be added up: that of the smaller one.
    """
    doubles, ways = [], {payment.way for payment in payments if payment.may_be_resent_after}
    for way in ways:
        own = [payment for payment in payments if payment.way == way]
        seen_at = [payment.seen_at for payment in own]
        largest = [worth(payment) for payment in own]
        for number in reversed(range(len(own) - 1)):
            largest[number] = max(largest[number], largest[number + 1])
        for number, payment in enumerate(own):
            if payment.may_be_resent_after:
                later = max(number + 1, bisect_left(seen_at, payment.may_be_resent_after))
                if later < len(own):
                    doubles.append((payment, min(worth(payment), largest[later])))
    return doubles


def _tallies(total: Decimal, payments, confirmed) -> dict[Hashable, Tally]:
    beyond = _excess_units(total, confirmed)
    doubles = _doubles(payments, lambda payment: payment.amount)
    return {
        way: Tally(
            asset=asset,
            received=sum(each.amount for each in payments if each.way == way)
            - sum(amount for payment, amount in doubles if payment.way == way),
            confirmed=sum(each.amount for each in confirmed if each.way == way),
            excess=beyond.get(way, 0),
        )
        for way, asset in {each.way: each.asset for each in payments}.items()
    }
