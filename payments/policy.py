"""The merchant's rules for judging money, as written in the settings."""

import re
from decimal import Decimal

from django.conf import settings

UNCONFIRMED, PARTIALLY_CONFIRMED, CONFIRMED = 0, 1, 2


def parse_confirmation_policy(text: str) -> list[tuple[Decimal, int]]:
    """Turns "0-20: 1, 20-: 2" into [(0, 1), (20, 2)]: from this total on, that status is enough.

    The ranges begin at 0, follow each other without a gap, and the last one has no end.
    """
    steps, expected = [], Decimal(0)
    for part in text.split(","):
        match = re.fullmatch(r"([0-9.]+)-([0-9.]*): *([012])", part.strip(), re.ASCII)
        if match is None or expected is None or Decimal(match[1]) != expected:
            raise ValueError(
                f'CONFIRMATION_POLICY: cannot read "{part.strip()}". Write it like '
                '"0-20: 1, 20-: 2": from 0 on, without gaps, each range with a status 0, 1 or 2.'
            )
        steps.append((Decimal(match[1]), int(match[3])))
        expected = Decimal(match[2]) if match[2] else None
    if expected is not None:
        raise ValueError('CONFIRMATION_POLICY: the last range has no end, as in "20-: 2".')
    return steps


def enough_status(total: Decimal) -> int:
    """The status from which on a transaction counts as confirmed for an invoice of `total`."""
    steps = parse_confirmation_policy(settings.CONFIRMATION_POLICY)
    return [status for start, status in steps if total >= start][-1]


def least_accepted(total: Decimal) -> Decimal:
    """What has to come in, in fiat, for an invoice of `total` to be covered."""
    return total * (100 - settings.UNDERPAYMENT_TOLERANCE) / 100
