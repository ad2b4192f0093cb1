"""Money in its smallest units: satoshis are whole numbers, fiat is Decimal, nothing is a float."""

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal
from functools import reduce
from urllib.parse import quote

SATOSHIS_PER_BITCOIN = 100_000_000
MAX_SATOSHIS = 21_000_000 * SATOSHIS_PER_BITCOIN

# A rate of 20 digits times 16 digits of satoshis stays exact.
EXACT = Context(prec=60)


def to_satoshis(fiat: Decimal, rate: Decimal) -> int:
    """The satoshis worth `fiat` at `rate` (fiat per bitcoin), rounded up once, so never too few.

    >>> to_satoshis(Decimal("10.00"), Decimal("100000"))
    10000
    >>> to_satoshis(Decimal("0.01"), Decimal("99999.99"))
    11
    """
    if rate <= 0:
        raise ValueError(f"A rate must be above zero, not {rate}.")
    satoshis = EXACT.divide(EXACT.multiply(fiat, SATOSHIS_PER_BITCOIN), rate)
    return int(satoshis.to_integral_value(rounding=ROUND_CEILING))


def to_fiat(satoshis: int, rate: Decimal) -> Decimal:
    """What `satoshis` are worth at `rate`, exactly; round it for people, not for judging.

    >>> to_fiat(10000, Decimal("100000"))
    Decimal('10.00000000')
    """
    return EXACT.scaleb(EXACT.multiply(Decimal(satoshis), rate), -8)


def included_tax(total: Decimal, rate: Decimal) -> Decimal:
    """The tax of `rate` percent that `total` includes, half a cent rounded up.

    >>> included_tax(Decimal("119.00"), Decimal("19"))
    Decimal('19.00')
    >>> included_tax(Decimal("0.03"), Decimal("20"))
    Decimal('0.01')
    """
    tax = EXACT.divide(EXACT.multiply(total, rate), EXACT.add(Decimal(100), rate))
    return tax.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP, context=EXACT)


def add_up(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum: Python's own would round values of more than 28 digits."""
    return reduce(EXACT.add, amounts, Decimal(0))


def format_bitcoin(satoshis: int) -> str:
    """Bitcoin with its eight digits, as wallets and BIP21 want it.

    >>> format_bitcoin(1000)
    '0.00001000'
    """
    whole, rest = divmod(satoshis, SATOSHIS_PER_BITCOIN)
    return f"{whole}.{rest:08d}"


def bitcoin_uri(address: str, satoshis: int, label: str = "") -> str:
    """A BIP21 payment request.

    >>> bitcoin_uri("tb1qaddress", 1000, "Order 7 & more")
    'bitcoin:tb1qaddress?amount=0.00001000&label=Order%207%20%26%20more'
    """
    uri = f"bitcoin:{address}?amount={format_bitcoin(satoshis)}"
    return f"{uri}&label={quote(label, safe='')}" if label else uri
