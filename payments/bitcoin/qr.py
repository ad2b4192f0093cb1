"""QR codes, drawn here: no picture service learns an address or an amount.

The payment service does hear of the address, as the invoice's page listens to its socket.
"""

import segno
from django.utils.safestring import SafeString, mark_safe

from payments.bitcoin import BITCOIN

# Addresses that may as well be written in capitals, which take less room in a QR code.
BECH32 = ("bc1", "tb1", "bcrt1")


def of_payment(address: str, satoshis: int) -> SafeString:
    """The address and what is still due, as wallets scan it.

    Scheme and key stay in small letters, as some wallets compare them as they are; the wallet's
    label is left to the link. Cut into parts, each is packed in its own way: 33 dots in a row
    instead of 45, so an old phone reads it as well.
    """
    if address.startswith(BECH32) and address == address.lower():
        address = address.upper()
    return svg(["bitcoin:", address, "?amount=", BITCOIN.format(satoshis)])


def svg(parts: list[str]) -> SafeString:
    """An inline SVG, black on white in either theme, as scanners like it."""
    code = segno.make(parts, error="m", micro=False)
    drawing = code.svg_inline(
        border=4, dark="#000", light="#fff", omitsize=True, svgclass="qr", lineclass=None
    )
    return mark_safe(drawing)  # noqa: S308  segno writes shapes only, none of the text
