"""Money in its smallest units: amounts are whole numbers, fiat is Decimal, nothing is a float."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal
from functools import reduce

from iso4217 import Currency

# The largest number that a column for an amount holds.
MAX_AMOUNT = 2**63 - 1

# A rate of 20 digits times 19 digits of an amount stays exact.
EXACT = Context(prec=60)


@dataclass(frozen=True)
class Asset:
    """What can be paid with: its code, and how many decimals its smallest unit stands for.

    >>> Asset("XYZ", 3).to_units(Decimal("10.00"), Decimal("2"))
    5000
    """

    code: str
    decimals: int

    @classmethod
    def fiat(cls, code: str) -> "Asset":
        """The currency of that ISO 4217 code; ValueError if there is none.

        >>> [Asset.fiat(code).decimals for code in ("USD", "JPY", "KWD")]
        [2, 0, 3]
        """
        return cls(code, Currency(code).exponent or 0)

    @property
    def smallest(self) -> Decimal:
        """Its smallest unit as a part of a whole one.

        >>> Asset.fiat("USD").smallest, Asset.fiat("JPY").smallest
        (Decimal('0.01'), Decimal('1'))
        """
        return Decimal(1).scaleb(-self.decimals)

    def to_units(self, fiat: Decimal, rate: Decimal) -> int:
        """The smallest units worth `fiat` at `rate` (fiat for one whole), rounded up once.

        So they are never too few.

        >>> Asset("XYZ", 8).to_units(Decimal("0.01"), Decimal("99999.99"))
        11
        >>> Asset.fiat("USD").to_units(Decimal("49.99"), Decimal(1))
        4999
        """
        if rate <= 0:
            raise ValueError(f"A rate must be above zero, not {rate}.")
        units = EXACT.divide(EXACT.scaleb(fiat, self.decimals), rate)
        return int(units.to_integral_value(rounding=ROUND_CEILING))

    def to_fiat(self, units: int, rate: Decimal) -> Decimal:
        """What `units` are worth at `rate`, exactly; round it for people, not for judging.

        >>> Asset("XYZ", 8).to_fiat(10000, Decimal("100000"))
        Decimal('10.00000000')
        """
        return EXACT.scaleb(EXACT.multiply(Decimal(units), rate), -self.decimals)

    def format(self, units: int) -> str:
        """The amount with all its decimals, as wallets take it; without the asset's code.

        >>> Asset("XYZ", 8).format(1000), Asset("JPY", 0).format(1980)
        ('0.00001000', '1980')
        """
        return f"{Decimal(units).scaleb(-self.decimals, EXACT):f}"


def rounded(amount: Decimal, currency: str) -> Decimal:
    """With the decimals that ISO 4217 gives the currency, half of the last one rounded up.

    >>> [str(rounded(Decimal("1980.125"), code)) for code in ("USD", "JPY", "KWD")]
    ['1980.13', '1980', '1980.125']
    """
    return amount.quantize(Asset.fiat(currency).smallest, rounding=ROUND_HALF_UP, context=EXACT)


def included_tax(total: Decimal, rate: Decimal, currency: str) -> Decimal:
    """The tax of `rate` percent that `total` includes, rounded.

    >>> included_tax(Decimal("119.00"), Decimal("19"), "USD")
    Decimal('19.00')
    >>> included_tax(Decimal("0.03"), Decimal("20"), "USD")
    Decimal('0.01')
    """
    tax = EXACT.divide(EXACT.multiply(total, rate), EXACT.add(Decimal(100), rate))
    return rounded(tax, currency)


def add_up(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum: Python's own would round values of more than 28 digits."""
    return reduce(EXACT.add, amounts, Decimal(0))
