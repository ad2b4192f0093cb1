"""bitcoin: links, and amounts as people write them."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qs, quote, urlencode

from sandbox import keys
from sandbox.models import MAX_SATOSHIS, SATOSHIS_PER_BITCOIN
from sandbox.templatetags.sandbox_format import btc


@dataclass(frozen=True)
class PaymentLink:
    """What a bitcoin: link says. `value` is in satoshis, None when it names no amount."""

    address: str = ""
    value: int | None = None
    label: str = ""
    problem: str = ""


def read_link(text):
    """A PaymentLink from a bitcoin: link or a bare address; `problem` says what is wrong."""
    text = text.strip()
    if text[:8].lower() == "bitcoin:":
        text = text[8:]
    address, _, query = text.partition("?")
    address = keys.tidy_address(address)
    if not address:
        return PaymentLink()
    if not keys.is_payable(address):
        return PaymentLink(problem="This is no Bitcoin address. Copy it again, in full.")
    parameters = {name: values[0] for name, values in parse_qs(query).items()}
    value = satoshis(parameters.get("amount", ""))
    label = "".join(letter for letter in parameters.get("label", "") if letter.isprintable())
    return PaymentLink(address, value, label[:200])


def satoshis(bitcoins):
    """Whole satoshis of an amount in bitcoins; None if it is no such amount."""
    try:
        value = Decimal(bitcoins.strip()) * SATOSHIS_PER_BITCOIN
    except InvalidOperation:
        return None
    if not value.is_finite() or not 0 < value <= MAX_SATOSHIS or value != int(value):
        return None
    return int(value)


def link_to(watched):
    """The bitcoin: link that the address was last opened with, or a bare one."""
    if watched.asked_value is None:
        return f"bitcoin:{watched.address}"
    parameters = {"amount": btc(watched.asked_value)}
    if watched.label:
        parameters["label"] = watched.label
    return f"bitcoin:{watched.address}?{urlencode(parameters, quote_via=quote)}"
