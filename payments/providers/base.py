"""The border: what a payment service is asked for and may report, in the shop's own words.

A provider translates between one outside service and these words. It never touches the database
and never judges: it reports, the shop judges. Every provider has the small core below; what only
some services can do is an ability, a Protocol that callers ask for with `isinstance`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from django.core.checks import CheckMessage
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from payments.money import Asset

# What the shop asks for


@dataclass(frozen=True)
class OrderLine:
    """One line of what is bought; `unit_price` is in the order's currency."""

    title: str
    quantity: int
    unit_price: Decimal


@dataclass(frozen=True)
class PaymentOrder:
    """What a provider is asked to collect: `total` of `currency`, an ISO 4217 code.

    `token` is random and belongs to this one attempt, so that a callback URL may carry it.
    """

    order_code: str
    token: str
    total: Decimal
    currency: str
    lines: tuple[OrderLine, ...] = ()
    email: str = ""
    language: str = ""


@dataclass(frozen=True)
class PaymentInstructions:
    """How the shopper pays: `due` in the smallest unit of `asset`, to `reference`.

    `rate` is what one whole `asset` costs in the order's currency (1 where it is that currency).
    `expires_at` is None where the shop may say how long the quote stands.
    """

    reference: str
    asset: Asset
    due: int
    rate: Decimal
    expires_at: datetime | None = None
    redirect_url: str = ""


class MarketPrice(NamedTuple):
    """What one whole `asset` costs just now."""

    rate: Decimal
    asset: Asset


# What the service reports


@dataclass(frozen=True)
class TransactionReport:
    """One payment as the service knows it; `amount` is what it pays to `reference`.

    The amount is in the smallest unit of the attempt's asset. `is_final` says that the service
    reports nothing deeper: then it counts whatever number of confirmations the policy asks for.
    `is_replaceable` says that the sender can still take an unconfirmed payment back.
    """

    reference: str
    transaction_id: str
    amount: int
    confirmations: int
    is_final: bool = False
    is_replaceable: bool = False


Report = TransactionReport


@dataclass(frozen=True)
class AuthenticCallback:
    """A callback whose sender has proved who they are, as the inbox keeps it: without the secret.

    `query` is percent-encoded and `body` is text, both as they came but for the secret, of which
    `credential` is a mark: by it the merchant learns which of several is in use.
    """

    query: str = ""
    body: str = ""
    credential: str = ""


# When a callback last came with the credential of that mark; None if none did.
LastUsed = Callable[[str], datetime | None]


class Result(StrEnum):
    """What the shop made of a report."""

    RECORDED = "recorded"
    KNOWN = "known"
    UNKNOWN_REFERENCE = "unknown"


@dataclass(frozen=True)
class Outcome:
    """What became of one report; `is_final`: its payment is confirmed as the policy asks."""

    report: Report
    result: Result
    is_final: bool = False


# What may go wrong


class ProviderError(Exception):
    """The service could not do what was asked.

    str(error) is for the merchant's log: which endpoint, what happened, what to do.
    `explanation` is for the shopper. `http_status` is 0 if there was no answer. `is_alarming`
    says that somebody may be redirecting the money, so that the merchant is told at once.
    """

    explanation = _("This way to pay does not work at the moment.")

    def __init__(
        self, message: str, explanation: str = "", http_status: int = 0, is_alarming: bool = False
    ):
        super().__init__(message)
        self.explanation = explanation or self.explanation
        self.http_status = http_status
        self.is_alarming = is_alarming


class ProviderUnavailable(ProviderError):
    """No answer, or nonsense: trying again later may help."""

    explanation = _("The payment service does not answer at the moment.")


class ProviderRefused(ProviderError):
    """A clear no: it stays until the merchant acts."""

    explanation = _("The payment service refused to take this payment.")


class NotApplicable(Exception):
    """A well-formed callback that says nothing about a payment which this shop could count."""


# What every provider can do


class Provider(Protocol):
    """The core. `slug` stands in URLs and rows, `label` on buttons.

    `family` names the folder below templates/payments/pay/ that tells shoppers how to pay.
    """

    slug: str
    label: str
    family: str

    def is_configured(self) -> bool:
        """Tells whether the settings hold all that it needs."""

    def start(self, order: PaymentOrder) -> PaymentInstructions:
        """Asks the service for a payment; raises ProviderError."""

    def close(self, reference: str) -> None:
        """Gives up a reference that nobody was shown, or ends a session; never raises."""

    def authenticate(self, request: HttpRequest) -> AuthenticCallback:
        """Checks who sent a callback.

        Raises PermissionDenied when it cannot prove where it comes from, MethodNotAllowed when
        the service never calls so, BadRequest for a signature that makes no sense.
        """

    def parse(self, callback: AuthenticCallback) -> list[Report]:
        """Reads what a callback reports; pure, so that the inbox can replay it.

        Raises BadRequest when it makes no sense, NotApplicable when it is none of the shop's
        business.
        """

    def acknowledge(self, outcomes: list[Outcome]) -> HttpResponse:
        """Answers the service, knowing what the shop made of each report."""

    def look_up(self, reference: str) -> list[Report]:
        """Asks for everything that was ever paid to the reference; raises ProviderError."""


class MethodNotAllowed(Exception):
    """A callback came by a method that the service never uses; `allowed` lists the right ones."""

    def __init__(self, allowed: list[str]):
        super().__init__(", ".join(allowed))
        self.allowed = allowed


# What only some can do


@runtime_checkable
class PricesInMarket(Protocol):
    """The price of its `asset` moves, so that a quote stands for a while only."""

    asset: Asset

    def market_rate(self, currency: str) -> Decimal:
        """Asks what one whole of the asset costs just now; raises ProviderError."""

    def cached_rate(self, currency: str) -> Decimal | None:
        """Tells the market rate if it is known without asking; never waits, never raises.

        Where it is not, somebody is sent to ask, so that the next one may hear it.
        """


@runtime_checkable
class ReportsBalances(Protocol):
    """One question tells what many references hold, to find those where something moved."""

    def balances(self, references: list[str]) -> dict[str, int]:
        """What each reference holds, unconfirmed included; raises ProviderError."""


@runtime_checkable
class FindsTransactions(Protocol):
    """A single payment can be asked about, independently of its callback."""

    def find_transaction(self, reference: str, transaction_id: str) -> TransactionReport | None:
        """One payment as the network has it, None if it knows none; raises ProviderError."""


@runtime_checkable
class PushesBySocket(Protocol):
    """The service tells of payments over a WebSocket, to browsers and to the watcher."""

    def socket_url(self, reference: str) -> str:
        """Where one may listen to payments, or an empty string."""

    def parse_message(self, reference: str, text: str) -> TransactionReport | None:
        """What a message of that socket reports, None if nothing of use."""


@runtime_checkable
class RefundsByHand(Protocol):
    """The merchant sends money back from an own wallet, to where the shopper says.

    `destination_label` names what the shopper has to give.
    """

    destination_label: str

    def clean_destination(self, text: str) -> str:
        """The destination in its one spelling; ValidationError says what is wrong with it."""

    def clean_transaction_id(self, text: str) -> str:
        """The id of a payment that was sent, in its one spelling; raises ValidationError."""

    def refund_uri(self, destination: str, amount: int, label: str) -> str:
        """A link that opens the merchant's wallet with all of it filled in."""


@runtime_checkable
class LimitsLookUps(Protocol):
    """The service bans whoever asks more often than once in so many seconds."""

    seconds_between_look_ups: float


@runtime_checkable
class LimitsUnusedAddresses(Protocol):
    """Wallets stop looking after so many references in a row that nobody paid to.

    `service` is the company's name, for the merchant.
    """

    service: str

    def gap_limit(self) -> int:
        """After how many they stop; raises ProviderError."""


@runtime_checkable
class Diagnoses(Protocol):
    """The merchant's account at the service can be examined."""

    def diagnose(self, currency: str, last_used: LastUsed) -> Iterator[tuple[bool, str]]:
        """What works and what the merchant has to do; uses up no reference."""


@runtime_checkable
class ChecksSettings(Protocol):
    """Some settings are the provider's own."""

    def check_settings(self) -> Iterator[CheckMessage]:
        """What is wrong with them, told when the shop starts; asks nobody."""

    def check_deployment(self) -> Iterator[CheckMessage]:
        """What besides is wrong for a public server, told by `check --deploy`."""
