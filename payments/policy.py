"""The merchant's rules for judging money, as written in the settings."""

import re
from decimal import Decimal

from django.conf import settings

AMOUNT = r"[0-9]{1,12}(?:\.[0-9]{1,8})?"

UNCONFIRMED, PARTIALLY_CONFIRMED, CONFIRMED = 0, 1, 2


def parse_confirmation_policy(text: str) -> list[tuple[Decimal, int]]:
    """Turns "0-20: 1, 20-: 2" into [(0, 1), (20, 2)]: from this total on, that status is enough.

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
    return steps


def enough_status(total: Decimal) -> int:
    """The status from which on a transaction counts as confirmed for an invoice of `total`."""
    steps = parse_confirmation_policy(settings.CONFIRMATION_POLICY)
    return [status for start, status in steps if total >= start][-1]


def least_accepted(total: Decimal) -> Decimal:
    """What has to come in, in fiat, for an invoice of `total` to be covered."""
    return total * (100 - settings.UNDERPAYMENT_TOLERANCE) / 100


def must_verify(total: Decimal) -> bool:
    """Whether callbacks alone do not settle an invoice of `total`."""
    return total >= settings.VERIFY_FROM
