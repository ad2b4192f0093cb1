"""The border: what a payment service is asked for and may report, in the shop's own words.

A provider translates between one outside service and the two words below. It never touches the
database and never judges: it reports, the models judge.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class PaymentRequest:
    """What the shopper is asked for: `due` in the smallest unit of `asset`, paid to `reference`."""

    reference: str
    asset: str
    due: int
    rate: Decimal
    redirect_url: str = ""


@dataclass(frozen=True)
class Sighting:
    """One report of a transaction; `amount` is what it pays to `reference`, in smallest units.

    `status` is 0 (unconfirmed), 1 (partially confirmed) or 2 (confirmed); `replaceable` says that
    the sender can still take an unconfirmed transaction back.
    """

    reference: str
    txid: str
    amount: int
    status: int
    replaceable: bool = False
    asset: str = "BTC"


class ProviderError(Exception):
    """The service could not do what was asked.

    str(error) is for the merchant's log: which endpoint, what happened, what to do.
    `explanation` is for the shopper. `http_status` is 0 if there was no answer. `alarming`
    says that somebody may be redirecting the money, so that the merchant is told at once.
    """

    explanation = _("Bitcoin payments do not work at the moment.")

    def __init__(
        self, message: str, explanation: str = "", http_status: int = 0, alarming: bool = False
    ):
        super().__init__(message)
        self.explanation = explanation or self.explanation
        self.http_status = http_status
        self.alarming = alarming


class ProviderUnavailable(ProviderError):
    """No answer, or nonsense: trying again later may help."""

    explanation = _("The bitcoin payment service does not answer at the moment.")


class ProviderRefused(ProviderError):
    """A clear no: it stays until the merchant acts."""

    explanation = _("The bitcoin payment service refused to take this payment.")


class NotApplicable(Exception):
    """A well-formed report that says nothing about a payment which this shop could count."""


class Provider(Protocol):
    slug: str
    label: str

    def request_payment(self, invoice) -> PaymentRequest:
        """Asks where to pay `invoice.total` of `invoice.currency` to; raises ProviderError."""

    def take_back(self, reference: str):
        """Keeps a reference that nobody was shown for one of the next purchases."""

    def market_rate(self, currency: str) -> Decimal:
        """What one whole coin costs in `currency` just now; raises ProviderError."""

    def fresh_rate(self, currency: str) -> Decimal | None:
        """The market rate if it is known without asking anybody; never waits, never raises.

        Where it is not, somebody is sent to ask, so that the next one may hear it.
        """

    def read_callback(self, request: HttpRequest) -> list[Sighting]:
        """What a callback reports.

        Raises PermissionDenied when it cannot prove where it comes from, BadRequest when it makes
        no sense, NotApplicable when it is none of the shop's business.
        """

    def read_again(self, query: QueryDict) -> list[Sighting]:
        """What a callback that was kept in the inbox reports; raises as read_callback does."""

    def acknowledge(self, sightings: list[Sighting]) -> HttpResponse:
        """The answer that tells the service: noted, do not send it again."""

    def redact(self, request: HttpRequest) -> str:
        """The callback as the inbox keeps it, without its secret."""

    def look_up(self, reference: str) -> list[Sighting]:
        """Every transaction that the network knows of for this address; raises ProviderError."""

    def look_up_transaction(self, reference: str, txid: str) -> Sighting | None:
        """One transaction as the network has it, None if it knows none; raises ProviderError."""

    def received(self, references: list[str]) -> dict[str, int]:
        """What each address holds, unconfirmed included; raises ProviderError.

        One question about many addresses, to find those where something moved.
        """

    def read_message(self, reference: str, text: str) -> Sighting | None:
        """What a message of the address's socket reports, None if nothing of use."""

    def socket_url(self, reference: str) -> str:
        """Where a browser may listen to payments, or an empty string."""
