"""How the console shows amounts and hides secrets."""

import re
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

from django import template

register = template.Library()

MASK = "•••"
SECRET_NAME = re.compile(r"secret|key|token|password", re.IGNORECASE)
SECRET_PARAMETER = re.compile(
    r"([?&](?:amp;)?[\w.-]*(?:secret|key|token|password)[\w.-]*=)[^&\s#'\")<>]*", re.IGNORECASE
)


@register.filter
def btc(value):
    """Satoshis as bitcoins with all eight decimals, never in scientific notation."""
    return f"{Decimal(value).scaleb(-8):.8f}"


@register.filter
def masked(text, url=""):
    """The text without the secrets in its URLs, and without those of `url` wherever they stand."""
    text = SECRET_PARAMETER.sub(rf"\1{MASK}", text)
    for secret in secrets_in(url):
        text = text.replace(secret, MASK)
    return text


def secrets_in(url):
    parameters = parse_qsl(urlsplit(url).query)
    named = (value for name, value in parameters if SECRET_NAME.search(name))
    return [value for value in named if len(value) > 3]


@register.filter
def shortened(text):
    """The two ends of a long address or transaction id."""
    return text if len(text) <= 20 else f"{text[:10]}…{text[-8:]}"


@register.filter
def value_to(payment, address):
    return payment.value_to(address)
