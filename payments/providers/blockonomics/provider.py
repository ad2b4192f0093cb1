"""Blockonomics in the shop's words: what `client` and `messages` say, translated to the border."""

import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Overdue
from decimal import Decimal
from threading import Lock
from urllib.parse import urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.core.cache import cache
from django.core.checks import CheckMessage
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac
from pydantic import ValidationError

from payments.bitcoin import BITCOIN, addresses
from payments.bitcoin import xpub as keys
from payments.bitcoin.wallet import BitcoinWallet
from payments.providers.base import (
    AuthenticCallback,
    LastUsed,
    MethodNotAllowed,
    NotApplicable,
    Outcome,
    PaymentInstructions,
    PaymentOrder,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
    TransactionReport,
)

from . import checks, messages
from .client import DISTRUST, NO_ANSWER, Client, NoSuchStore, without

logger = logging.getLogger(__name__)

# The price is asked for here while the request's own thread asks for the address.
second_caller = ThreadPoolExecutor(max_workers=20, thread_name_prefix="blockonomics")

# Held while a price is asked for that nobody waits for: one call at a time in each process, and
# with a service that does not answer, one in this many seconds over all processes.
asking_for_a_rate = Lock()
SECONDS_BETWEEN_QUESTIONS = 10

# Addresses that nobody was shown are kept for the next shopper.
SPARE_PLACES = 20
SPARE_SECONDS = 24 * 3_600


class Blockonomics(BitcoinWallet):
    """Bitcoin to addresses of the merchant's own wallet, which Blockonomics watches.

    Its abilities: PricesInMarket, ReportsBalances, FindsTransactions, PushesBySocket,
    LimitsLookUps, LimitsUnusedAddresses, Diagnoses, ChecksSettings, and RefundsByHand.
    """

    slug = "blockonomics"
    label = "Bitcoin"
    service = "Blockonomics"

    def __init__(self):
        self.secrets = settings.BLOCKONOMICS_CALLBACK_SECRETS
        self.client = Client(
            settings.BLOCKONOMICS_URL,
            settings.BLOCKONOMICS_API_KEY,
            settings.BLOCKONOMICS_TIMEOUT.total_seconds(),
            settings.BLOCKONOMICS_XPUB,
            self.secrets,
        )

    def is_configured(self) -> bool:
        """Tells whether there is an API key and at least one callback secret."""
        return bool(self.client.api_key and self.secrets)

    def callback_urls(self) -> list[str]:
        """The URLs that the Blockonomics store may have, secret included, the best one first."""
        path = reverse("payments:callback", args=[self.slug])
        queries = [urlencode({"secret": secret}) for secret in self.secrets]
        return [f"{settings.SITE_URL}{path}?{query}" for query in queries]

    def callback_url(self) -> str:
        """The URL that belongs into the Blockonomics store."""
        return self.callback_urls()[0]

    # A payment is asked for

    def start(self, order: PaymentOrder) -> PaymentInstructions:
        """Asks for an address and the price at the same time."""
        deadline = time.monotonic() + self.client.timeout
        price = second_caller.submit(self.market_rate, order.currency)
        address = self._spare_address() or self._new_address()
        try:
            rate = price.result(timeout=max(0, deadline - time.monotonic()))
        except Overdue as error:
            price.cancel()  # should it still wait for its turn
            self.close(address)
            raise ProviderUnavailable(
                "Blockonomics /api/price did not answer in time.", NO_ANSWER
            ) from error
        except ProviderError:
            self.close(address)
            raise
        due = BITCOIN.to_units(order.total, rate)
        return PaymentInstructions(reference=address, asset=BITCOIN, due=due, rate=rate)

    def close(self, reference: str) -> None:
        """Into the first free place; should there be none, the wallet can bear the gap."""
        any(cache.add(place, reference, SPARE_SECONDS) for place in self._spare_places())

    def _spare_places(self) -> list[str]:
        """Where they are kept: elsewhere for another account or wallet, whose owner may differ."""
        account = [
            *[self.client.base_url, self.client.api_key, self.client.xpub],
            *[settings.BITCOIN_NETWORK, settings.BLOCKONOMICS_TEST_MODE],
        ]
        mark = hashlib.sha256(repr(account).encode()).hexdigest()[:16]
        return [f"blockonomics-spare-{mark}-{place}" for place in range(SPARE_PLACES)]

    def _spare_address(self) -> str | None:
        """An address that nobody was shown: nobody paid a price for it. Each is given once."""
        for place, address in cache.get_many(self._spare_places()).items():
            if cache.delete(place):
                return address
        return None

    def _new_address(self) -> str:
        address = self._asked_for_address()
        if addresses.is_valid(address, settings.BITCOIN_NETWORK):
            return self._our_own(addresses.normalize(address))
        if settings.BLOCKONOMICS_TEST_MODE and re.fullmatch(r"1TestBTCAddress\w*", address):
            return address
        raise ProviderRefused(
            f"Blockonomics /api/new_address answered {address[:90]!r}, which is no "
            f"{settings.BITCOIN_NETWORK} bitcoin address. Compare BITCOIN_NETWORK with the wallet; "
            "the store may be in test mode.",
            DISTRUST,
        )

    def _asked_for_address(self) -> str:
        """While the secret is being changed, the store may still have one of the older ones."""
        *better, last = self.callback_urls()
        for url in better:
            with contextlib.suppress(NoSuchStore):
                return self.client.new_address(url)
        return self.client.new_address(last)

    def _our_own(self, address: str) -> str:
        """The address, if it belongs to the merchant's key, should that be known."""
        xpub, window = settings.BLOCKONOMICS_XPUB, settings.BLOCKONOMICS_XPUB_WINDOW
        if xpub and not keys.owns(xpub, address, window):
            raise ProviderRefused(
                f"Blockonomics /api/new_address answered {address}, which is none of the "
                f"first {window} addresses of BLOCKONOMICS_XPUB. Nobody was shown it. If you "
                "did not change the wallet, somebody else did: look at your account.",
                DISTRUST,
                is_alarming=True,
            )
        return address

    # Its price

    def market_rate(self, currency: str) -> Decimal:
        """The price from the cache while it is young enough; each new one is put there."""
        key = f"blockonomics-price-{currency}"
        rate = cache.get(key)
        if rate is None:
            rate = self.client.price(currency)
            cache.set(key, rate, settings.PRICE_MAX_AGE.total_seconds())
        return rate

    def cached_rate(self, currency: str) -> Decimal | None:
        """The price that market_rate put into the cache, while it is young enough."""
        rate = cache.get(f"blockonomics-price-{currency}")
        if rate is None:
            self._send_for_rate(currency)
        return rate

    def _send_for_rate(self, currency: str):
        if not asking_for_a_rate.acquire(blocking=False):
            return
        sent = False
        try:
            if cache.add(f"blockonomics-asked-{currency}", True, SECONDS_BETWEEN_QUESTIONS):
                second_caller.submit(self._fetch_rate, currency)
                sent = True
        except RuntimeError:  # the server is about to end
            pass
        finally:
            if not sent:
                asking_for_a_rate.release()

    def _fetch_rate(self, currency: str):
        try:
            self.market_rate(currency)
        except ProviderError as error:
            logger.warning("Prices are shown without bitcoin: %s", error)
        finally:
            asking_for_a_rate.release()

    # It calls back

    def authenticate(self, request: HttpRequest) -> AuthenticCallback:
        """A GET that knows one of the secrets; how long it may be is the server's to say."""
        if request.method != "GET":
            raise MethodNotAllowed(["GET"])
        given = request.GET.get("secret", "")
        # Each is compared: how long it takes tells nobody which of them came near.
        matches = [constant_time_compare(given, secret) for secret in self.secrets]
        if not any(matches):
            raise PermissionDenied("Wrong or missing callback secret.")
        used = self._mark(self.secrets[matches.index(True)])
        return AuthenticCallback(query=self._redacted(request.GET), credential=used)

    def _mark(self, secret: str) -> str:
        """What stands for a secret in the books; nobody finds the secret by it."""
        return salted_hmac("payments.blockonomics", secret, algorithm="sha256").hexdigest()[:16]

    def _redacted(self, query: QueryDict) -> str:
        """The query without the secret, which whoever sends it may have put elsewhere as well."""
        pairs = [
            (without(self.secrets, name), without(self.secrets, value))
            for name, values in query.lists()
            for value in values
            if name != "secret"
        ]
        return urlencode(pairs, errors="replace")

    def parse(self, callback: AuthenticCallback) -> list[TransactionReport]:
        """One report for a callback about a bitcoin payment."""
        query = QueryDict(callback.query)
        if any(len(values) > 1 for _, values in query.lists()):
            raise BadRequest("Each parameter may be given once only.")
        words = query.dict()
        subject = _understood(messages.Subject, words)
        if subject.crypto != "BTC":
            raise NotApplicable(f"It is about {subject.crypto[:20]}, not about bitcoin.")
        if subject.status < 0:
            raise NotApplicable("Status -1 says nothing about a bitcoin payment.")
        told = _understood(messages.PaymentCallback, words)
        return [_report(told.addr, told)]

    def acknowledge(self, outcomes: list[Outcome]) -> HttpResponse:
        """Any 200 will do, whatever the shop made of it."""
        return HttpResponse("ok", content_type="text/plain")

    # It is asked

    @property
    def seconds_between_look_ups(self) -> float:
        return settings.BLOCKONOMICS_SEARCH_SECONDS

    def look_up(self, reference: str) -> list[TransactionReport]:
        """Every payment in the address's history; what its own coins went for is none."""
        return [_report(reference, payment) for payment in self.client.history(reference)]

    def find_transaction(self, reference: str, transaction_id: str) -> TransactionReport | None:
        """What the transaction pays to the address, None if nothing or if there is no such one."""
        payment = self.client.payment(transaction_id, reference)
        return payment and _report(reference, payment)

    def balances(self, references: list[str]) -> dict[str, int]:
        """What up to 100 addresses hold; one that Blockonomics does not tell of holds nothing."""
        # One invented address (of the test mode) makes Blockonomics refuse the whole question.
        real = [each for each in references if addresses.is_valid(each, settings.BITCOIN_NETWORK)]
        held = self.client.balances(real) if real else {}
        return dict.fromkeys(references, 0) | held

    # It pushes

    def socket_url(self, reference: str) -> str:
        """wss://…/payment/<address>"""
        parts = urlsplit(settings.BLOCKONOMICS_URL)
        scheme = "ws" if parts.scheme == "http" else "wss"
        return urlunsplit((scheme, parts.netloc, f"{parts.path}/payment/{reference}", "", ""))

    def parse_message(self, reference: str, text: str) -> TransactionReport | None:
        """A report, or None for whatever else is said there."""
        try:
            payment = messages.Payment.model_validate(messages.read_json(text))
        except ValidationError:
            return None
        return _report(reference, payment)

    # The merchant's account

    def gap_limit(self) -> int:
        """After how many unused addresses in a row wallets stop looking; raises ProviderError."""
        here = self._our_stores(self.client.stores())
        limits = [limit for store in here for limit in store.gap_limits]
        return min(limits, default=messages.GAP_LIMIT)

    def diagnose(self, currency: str, last_used: LastUsed) -> Iterator[tuple[bool, str]]:
        """What works and what the merchant has to do; asks Blockonomics, uses up no address."""
        try:
            here = self._our_stores(self.client.stores())
            yield True, "Blockonomics accepts the API key."
            yield bool(here), f"A store has the callback URL {self.callback_url()}"
            yield from self._diagnose_secrets({store.http_callback for store in here}, last_used)
            yield any(store.wallets for store in here), "That store has a wallet attached."
            yield True, f"One bitcoin costs {self.client.price(currency).normalize():f} {currency}."
        except ProviderError as error:
            yield False, str(error)

    def _diagnose_secrets(
        self, in_use: set[str], last_used: LastUsed
    ) -> Iterator[tuple[bool, str]]:
        """Which of several secrets the store has, and when each one was last used."""
        if len(self.secrets) < 2:
            return
        pairs = zip(self.secrets, self.callback_urls(), strict=True)
        for number, (secret, url) in enumerate(pairs, start=1):
            used = last_used(self._mark(secret))
            told = f"last used {used:%Y-%m-%d %H:%M:%S %Z}" if used else "not used yet"
            place = "which the store has" if url in in_use else "which no store has"
            yield True, f"Secret {number} of BLOCKONOMICS_CALLBACK_SECRET, {place}: {told}."

    def _our_stores(self, stores: list[messages.Store]) -> list[messages.Store]:
        """Those that call this shop, with whichever of its secrets."""
        urls = self.callback_urls()
        return [store for store in stores if store.http_callback in urls]

    # The settings

    def check_settings(self) -> Iterator[CheckMessage]:
        """The account's settings, then those of all ways to pay with bitcoin."""
        yield from checks.check_settings()
        yield from super().check_settings()

    def check_deployment(self) -> Iterator[CheckMessage]:
        yield from checks.check_deployment()
        yield from super().check_deployment()


def _report(address: str, told: messages.Payment | messages.PaymentCallback) -> TransactionReport:
    """Status 0, 1 or 2 is a number of confirmations; Blockonomics reports nothing deeper than 2."""
    return TransactionReport(
        reference=address,
        transaction_id=told.txid,
        amount=told.value,
        confirmations=told.status,
        is_final=told.status == messages.FINAL,
        is_replaceable=told.is_replaceable,
    )


def _understood(kind: type[messages.Message], words: dict[str, str]):
    """The query as a message; BadRequest names the first parameter that is wrong, and why."""
    try:
        return kind.model_validate(words)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise BadRequest(f"{fault['loc'][0]}: {fault['ctx']['error']}") from error
