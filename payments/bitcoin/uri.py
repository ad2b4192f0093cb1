"""Payment links that wallets open, by BIP21."""

from urllib.parse import quote

from . import BITCOIN


def payment_uri(address: str, satoshis: int, label: str = "") -> str:
    """A BIP21 payment request.

    >>> payment_uri("tb1qaddress", 1000, "Order 7 & more")
    'bitcoin:tb1qaddress?amount=0.00001000&label=Order%207%20%26%20more'
    """
    uri = f"bitcoin:{address}?amount={BITCOIN.format(satoshis)}"
    return f"{uri}&label={quote(label, safe='')}" if label else uri
