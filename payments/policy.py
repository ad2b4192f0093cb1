"""The merchant's rules for judging money, without Django: they are handed the settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

AMOUNT = r"[0-9]{1,15}(?:\.[0-9]{1,8})?"


@lru_cache(maxsize=16)
def parse_confirmation_policy(text: str) -> tuple[tuple[Decimal, int], ...]:
    """Turns "0-20: 1, 20-: 2" into ((0, 1), (20, 2)): from this total on, so many confirmations.

    The ranges begin at 0, follow each other without a gap, and the last one has no end.
    """
    steps, start = [], Decimal(0)
    for part in text.split(","):
        match = re.fullmatch(rf"({AMOUNT})-({AMOUNT})?: *([012])", part.strip(), re.ASCII)
        end = Decimal(match[2]) if match and match[2] else None
        if not match or Decimal(match[1]) != start or (end is not None and end <= start):
            raise ValueError(
                f'CONFIRMATION_POLICY: cannot read "{part.strip()}". Write it like '
                '"0-20: 1, 20-: 2": from 0 on, without gaps, each range with a status 0, 1 or 2.'
            )
        steps.append((start, int(match[3])))
        start = end
    if start is not None:
        raise ValueError('CONFIRMATION_POLICY: the last range has no end, as in "20-: 2".')
    return tuple(steps)


@dataclass(frozen=True)
class Policy:
    """The rules as they stand: `tolerance` is in percent of a total, `verify_from` a total."""

    confirmations: tuple[tuple[Decimal, int], ...]
    tolerance: Decimal
    verify_from: Decimal
    smallest_payments: Mapping[str, int]

    @classmethod
    def of(cls, settings) -> "Policy":
        """The rules in a settings object; ValueError if they cannot be read."""
        return cls(
            confirmations=parse_confirmation_policy(settings.CONFIRMATION_POLICY),
            tolerance=settings.UNDERPAYMENT_TOLERANCE,
            verify_from=settings.VERIFY_FROM,
            smallest_payments=settings.SMALLEST_PAYMENTS,
        )

    def enough_confirmations(self, total: Decimal) -> int:
        """How many make a payment count as confirmed for an invoice of `total`."""
        return [enough for start, enough in self.confirmations if total >= start][-1]

    def least_accepted(self, total: Decimal) -> Decimal:
        """What has to come in, in fiat, for an invoice of `total` to be covered."""
        return total * (100 - self.tolerance) / 100

    def must_verify(self, total: Decimal) -> bool:
        """Whether callbacks alone do not settle an invoice of `total`."""
        return total >= self.verify_from

    def smallest_payment(self, asset: str) -> int:
        """The least that can be sent of an asset, in its smallest unit."""
        return self.smallest_payments.get(asset, 1)
