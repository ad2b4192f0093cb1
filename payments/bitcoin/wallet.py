"""What every way to pay with bitcoin has in common: the merchant's own wallet."""

import re

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from . import BITCOIN, addresses, checks, uri

LINK = re.compile(r"^bitcoin:([^?]*).*$", re.IGNORECASE | re.DOTALL)


class BitcoinWallet:
    """A part of providers: pays back by hand from a wallet (the ability `RefundsByHand`)."""

    asset = BITCOIN
    family = "bitcoin"
    destination_label = _("Your bitcoin address")

    def clean_destination(self, text: str) -> str:
        """The address alone, as wallets also copy it as a bitcoin: link."""
        given = LINK.sub(r"\1", text)
        if not addresses.is_valid(given, settings.BITCOIN_NETWORK):
            raise ValidationError(
                _(
                    "This is not a whole bitcoin address. Please copy it from your wallet, where "
                    "it is found under “Receive”. A Lightning invoice or a public key will not do."
                )
            )
        return addresses.normalize(given)

    def clean_transaction_id(self, text: str) -> str:
        """A transaction id in small letters."""
        txid = text.lower()
        if not re.fullmatch(r"[0-9a-f]{64}", txid):
            raise ValidationError("A transaction id has 64 characters, 0 to 9 and a to f.")
        return txid

    def refund_uri(self, destination: str, amount: int, label: str) -> str:
        return uri.payment_uri(destination, amount, label)

    def check_settings(self):
        yield from checks.check_settings()

    def check_deployment(self):
        yield from ()
