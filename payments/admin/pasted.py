"""What people paste into a search: links that hold what is looked for."""

import re
from urllib.parse import unquote, urlsplit

from payments.models.invoice import KEY


def meant_by(text: str) -> str:
    """The transaction id, address, key or order code in it; the text itself if there is none.

    An explorer's link has a transaction id or an address in its path, a payment link its address,
    an order's link its key. Order codes are read out as 7K3M-QX2P and kept without the hyphen.
    """
    text = text.strip()
    if " " in text:
        return text
    if re.fullmatch(r"\w{1,4}-\w{0,4}", text, re.ASCII):
        return text.replace("-", "")
    try:
        link = urlsplit(text)
    except ValueError:
        return text
    if link.scheme in ("http", "https"):
        return _of_path(unquote(link.path)) or text
    if link.scheme:  # bitcoin:tb1q…?amount=…, in capitals where it comes from a QR code
        return link.path or text
    return text


def _of_path(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if "invoice" in parts[:-1]:
        key = parts[parts.index("invoice") + 1]
        return key if KEY.fullmatch(key) else ""
    return max(parts, key=len, default="")
