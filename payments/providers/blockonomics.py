"""Blockonomics: https://developers.blockonomics.co/reference

The only file that knows Blockonomics' words. `Client` speaks HTTP and knows nothing of invoices;
`Blockonomics` translates between the client and the shop.
"""

import hashlib
import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Overdue
from contextlib import closing
from decimal import Decimal, InvalidOperation
from json import loads as read_json
from threading import Lock
from urllib.parse import urlencode, urlsplit, urlunsplit

import requests
import urllib3
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from payments import addresses, keys, money

from . import wire
from .base import (
    NotApplicable,
    PaymentRequest,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
    Sighting,
)

logger = logging.getLogger(__name__)

# Answers are a few hundred bytes; more than this is not an answer.
MAX_ANSWER_BYTES = 64 * 1024
RATE_STEP = Decimal("0.00000001")
MAX_RATE = Decimal(10) ** 11

http = wire.Session()

# The price is asked for here while the request's own thread asks for the address.
second_caller = ThreadPoolExecutor(max_workers=20, thread_name_prefix="blockonomics")

# Held while a price is asked for that nobody waits for: one call at a time in each process, and
# with a service that does not answer, one in this many seconds over all processes.
asking_for_a_rate = Lock()
SECONDS_BETWEEN_QUESTIONS = 10

ADVICE = {
    1001: "Add a wallet (xpub) to the Blockonomics account.",
    1002: "Say which wallet: attach it to the store that has this shop's callback URL.",
    1003: "No store has this shop's callback URL, or the store has no wallet: `manage.py doctor` "
    "tells which, and prints the URL.",
    1005: "The Blockonomics account is disabled: see its billing page.",
    1011: "The Blockonomics account is disabled: see its billing page.",
    1032: "The account has several stores, none of which has this shop's callback URL: enter the "
    "one that `manage.py doctor` prints in the Blockonomics dashboard, under Stores.",
}
DISTRUST = _(
    "The bitcoin payment service gave us an address that we do not trust, so it is not shown."
)
SPARE_PLACES = 20
SPARE_SECONDS = 24 * 3_600
STATUS_WORDS = {"unconfirmed": 0, "partially confirmed": 1, "confirmed": 2}
# What a wallet has unless its owner sets another.
GAP_LIMIT = 20
GAP_LIMIT_CODES = {1006, 1007, 1008, 1009}
# Older answers carry no number, only these words.
CODES_BY_WORDS = {
    "add an xpub": 1001,
    "multiple xpub": 1002,
    "matching xpub": 1003,
    "gap limit": 1006,
    "match_callback": 1032,
}


class Client:
    """HTTP to Blockonomics: every call ends within `timeout` seconds, in JSON or in an error."""

    def __init__(self, base_url: str, api_key: str, timeout: float, xpub: str = ""):
        self.base_url = base_url
        self.xpub = xpub
        self.api_key = api_key
        self.timeout = timeout

    def new_address(self, match_callback: str) -> str:
        """A fresh address of the store whose callback URL contains `match_callback`."""
        answer = self._ask("POST", "/api/new_address", {"match_callback": match_callback})
        account = answer.get("account")
        if self.xpub and isinstance(account, str) and not keys.is_same(account, self.xpub):
            raise ProviderRefused(
                "Blockonomics /api/new_address answered for another account than "
                "BLOCKONOMICS_XPUB. If you did not change the wallet, somebody else did.",
                DISTRUST,
                alarming=True,
            )
        address = answer.get("address")
        if not isinstance(address, str) or not address:
            raise ProviderUnavailable(
                "Blockonomics /api/new_address answered without an address. Try again; if it "
                "stays so, look at the store's wallet in the Blockonomics dashboard.",
                _("The bitcoin payment service gave us no address to pay to."),
            )
        return address

    def price(self, currency: str) -> Decimal:
        """Units of `currency` for one bitcoin, above zero."""
        answer = self._ask("GET", "/api/price", {"currency": currency, "crypto": "BTC"})
        price = answer.get("price")
        if price is None:
            raise ProviderRefused(
                f"Blockonomics /api/price has no price in {currency!r}. Set SHOP_CURRENCY to one "
                "of the codes at /api/currencies.",
                format_lazy(
                    _("There is no bitcoin price in {currency} at the moment."), currency=currency
                ),
            )
        try:
            rate = Decimal(price).quantize(RATE_STEP)
        except (InvalidOperation, TypeError, ValueError):
            rate = Decimal(0)
        if isinstance(price, bool) or not (rate.is_finite() and 0 < rate < MAX_RATE):
            raise ProviderUnavailable(
                f"Blockonomics /api/price answered {str(price)[:40]!r}, which is no price.",
                _("The bitcoin payment service gave us no usable price."),
            )
        return rate

    def history(self, address: str) -> list[dict]:
        """The transactions of an address, those with two confirmations with `status` 2."""
        answer = self._ask("POST", "/api/searchhistory", json={"addr": address})
        pending, final = answer.get("pending"), answer.get("history")
        if not isinstance(pending, list) or not isinstance(final, list):
            raise nonsense("/api/searchhistory")
        if not all(isinstance(row, dict) for row in (*pending, *final)):
            raise nonsense("/api/searchhistory")
        return [*pending, *({**row, "status": 2} for row in final)]

    def balances(self, addresses: list[str]) -> list[dict]:
        """`addr`, `confirmed` and `unconfirmed` of up to 100 addresses."""
        answer = self._ask("POST", "/api/balance", json={"addr": " ".join(addresses)})
        rows = answer.get("response")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise nonsense("/api/balance")
        return rows

    def transaction(self, txid: str) -> dict | None:
        """`status` in words and `vout` of a transaction, None if there is no such one."""
        try:
            return self._ask("GET", "/api/tx_detail", {"txid": txid})
        except ProviderRefused as error:
            if error.http_status == 404:
                return None
            raise

    def stores(self) -> list[dict]:
        """The account's stores, each with `name`, `http_callback` and `wallets`."""
        stores = self._ask("GET", "/api/v2/stores", {"wallets": "true"}).get("data")
        if not isinstance(stores, list) or not all(isinstance(store, dict) for store in stores):
            raise nonsense("/api/v2/stores")
        return stores

    def _ask(self, method: str, path: str, params: dict | None = None, json=None) -> dict:
        status, body = self._fetch(method, path, params, json)
        try:
            answer = read_json(body, parse_float=Decimal, parse_int=Decimal, parse_constant=str)
        except (ValueError, RecursionError):
            answer = None
        if status == 200 and isinstance(answer, dict):
            return answer
        raise _error(path, status, answer)

    def _fetch(self, method: str, path: str, params, json) -> tuple[int, bytes]:
        deadline = time.monotonic() + self.timeout
        try:
            # Redirects are not followed: the API key would go wherever they lead.
            response = http.request(
                method,
                self.base_url + path,
                params=params,
                json=json,
                headers={"Authorization": f"Bearer {self.api_key}"},
                timeout=wire.within(self.timeout),
                allow_redirects=False,
                stream=True,
            )
            with closing(response):
                return response.status_code, _read(response, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise ProviderUnavailable(
                f"Blockonomics {path} did not answer: {type(error).__name__}. If this goes on, "
                "check that this server reaches BLOCKONOMICS_URL."
            ) from error


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, unless it is endless or drips past the deadline."""
    body = b""
    while chunk := response.raw.read1(MAX_ANSWER_BYTES, decode_content=True):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise requests.exceptions.ContentDecodingError("the answer is too long")
        if time.monotonic() > deadline:
            raise requests.Timeout("the answer is too slow")
    return body


def nonsense(path: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"Blockonomics {path} answered nonsense.",
        _("The bitcoin payment service answered something that we could not understand."),
    )


def _error(path: str, status: int, answer) -> ProviderUnavailable | ProviderRefused:
    code, words = _error_code(answer)
    said = f"Blockonomics {path} answered {status}: {words or 'nothing readable'}"
    if status in (401, 403):
        return ProviderRefused(
            f"{said}. Check BLOCKONOMICS_API_KEY against the dashboard, under Stores.",
            _("This shop’s account with the bitcoin payment service does not work at the moment."),
        )
    if code in GAP_LIMIT_CODES:
        return ProviderRefused(
            f"{said}. Too many addresses in a row are unpaid: raise the wallet's gap limit in the "
            "Blockonomics dashboard, in the wallet too, or wait until some are paid.",
            _(
                "Too many open orders are waiting for their payment, so there is no new address "
                "to pay to."
            ),
        )
    if code in ADVICE:
        return ProviderRefused(
            f"{said}. {ADVICE[code]}",
            _("This shop’s account with the bitcoin payment service is not set up completely."),
        )
    if 400 <= status < 500 and status not in (408, 425, 429):
        return ProviderRefused(said, http_status=status)
    if status == 200:
        return nonsense(path)
    return ProviderUnavailable(
        said, _("The bitcoin payment service has trouble of its own at the moment.")
    )


def _error_code(answer) -> tuple[int | None, str]:
    """Number and words of an error; four shapes of answers are in use."""
    if not isinstance(answer, dict):
        return None, ""
    error = answer.get("error")
    inner = error if isinstance(error, dict) else answer
    words = inner.get("message") or (error if isinstance(error, str) else "")
    words = str(words)[:200]
    number = str(inner.get("code", ""))
    if re.fullmatch(r"1[0-9]{3}", number, re.ASCII):
        return int(number), words
    hits = [code for phrase, code in CODES_BY_WORDS.items() if phrase in words.lower()]
    return (hits or [None])[0], words


class Blockonomics:
    slug = "blockonomics"
    label = "Bitcoin"

    def __init__(self):
        self.client = Client(
            settings.BLOCKONOMICS_URL,
            settings.BLOCKONOMICS_API_KEY,
            settings.BLOCKONOMICS_TIMEOUT.total_seconds(),
            settings.BLOCKONOMICS_XPUB,
        )
        self.secrets = settings.BLOCKONOMICS_CALLBACK_SECRETS

    def callback_url(self) -> str:
        """The URL that belongs into the Blockonomics store, secret included."""
        path = reverse("payments:callback", args=[self.slug])
        return f"{settings.SITE_URL}{path}?{urlencode({'secret': self.secrets[0]})}"

    def diagnose(self, currency: str) -> Iterator[tuple[bool, str]]:
        """What works and what the merchant has to do; asks Blockonomics, uses up no address."""
        url = self.callback_url()
        try:
            stores = self.client.stores()
            yield True, "Blockonomics accepts the API key."
            here = [store for store in stores if store.get("http_callback") == url]
            yield bool(here), f"A store has the callback URL {url}"
            attached = any(store.get("wallets") for store in here)
            yield attached, "That store has a wallet attached."
            yield True, f"One bitcoin costs {self.client.price(currency).normalize():f} {currency}."
        except ProviderError as error:
            yield False, str(error)

    def gap_limit(self) -> int:
        """After how many unused addresses in a row wallets stop looking; raises ProviderError."""
        url = self.callback_url()
        here = [store for store in self.client.stores() if store.get("http_callback") == url]
        wallets = [wallet for store in here for wallet in store.get("wallets") or []]
        return min((wallet.get("gap_limit") or GAP_LIMIT for wallet in wallets), default=GAP_LIMIT)

    def request_payment(self, invoice) -> PaymentRequest:
        deadline = time.monotonic() + self.client.timeout
        price = second_caller.submit(self.market_rate, invoice.currency)
        address = self._spare_address() or self._new_address()
        try:
            rate = price.result(timeout=max(0, deadline - time.monotonic()))
        except Overdue as error:
            price.cancel()  # should it still wait for its turn
            self.take_back(address)
            raise ProviderUnavailable("Blockonomics /api/price did not answer in time.") from error
        except ProviderError:
            self.take_back(address)
            raise
        return PaymentRequest(
            reference=address, asset="BTC", due=money.to_satoshis(invoice.total, rate), rate=rate
        )

    def market_rate(self, currency: str) -> Decimal:
        """The price from the cache while it is young enough; each new one is put there."""
        key = f"blockonomics-price-{currency}"
        rate = cache.get(key)
        if rate is None:
            rate = self.client.price(currency)
            cache.set(key, rate, settings.PRICE_MAX_AGE.total_seconds())
        return rate

    def fresh_rate(self, currency: str) -> Decimal | None:
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

    def read_callback(self, request: HttpRequest) -> list[Sighting]:
        """Reads `secret addr status value txid [rbf] [crypto]` from the query."""
        secret = request.GET.get("secret", "")
        # Without a configured secret nobody comes in.
        if not any(constant_time_compare(secret, known) for known in self.secrets):
            raise PermissionDenied("Wrong or missing callback secret.")
        return self.read_again(request.GET)

    def read_again(self, query: QueryDict) -> list[Sighting]:
        words = _single_values(query)
        status = _whole_number(words, "status", -1, 2)
        if words.get("crypto", "BTC") != "BTC":
            raise NotApplicable(f"It is about {words['crypto'][:20]}, not about bitcoin.")
        if status < 0:
            raise NotApplicable("Status -1 says nothing about a bitcoin payment.")
        return [
            Sighting(
                reference=self._address(words),
                txid=self._txid(words),
                amount=_whole_number(words, "value", 1, money.MAX_SATOSHIS),
                status=status,
                replaceable=status == 0 and _whole_number(words, "rbf", 0, 2, default="0") > 0,
            )
        ]

    def acknowledge(self, sightings: list[Sighting]) -> HttpResponse:
        return HttpResponse("ok", content_type="text/plain")

    def redact(self, request: HttpRequest) -> str:
        pairs = [
            (self._without_secrets(name), self._without_secrets(value))
            for name, values in request.GET.lists()
            for value in values
            if name != "secret"
        ]
        return urlencode(pairs, errors="replace")[:2000]

    def _without_secrets(self, text: str) -> str:
        """Whoever sends it may have put it into another parameter as well."""
        for secret in self.secrets:
            text = text.replace(secret, "[secret]")
        return text

    def look_up(self, reference: str) -> list[Sighting]:
        sightings = []
        for row in self.client.history(reference):
            sighting = self._sighting(reference, row)
            if sighting:
                sightings.append(sighting)
            elif not _leaves_the_address(row):
                # Passed over, a payment would seem to be gone.
                raise nonsense("/api/searchhistory")
        return sightings

    def look_up_transaction(self, reference: str, txid: str) -> Sighting | None:
        found = self.client.transaction(txid)
        if found is None:
            return None
        status = STATUS_WORDS.get(str(found.get("status")).lower())
        try:
            paid = sum(
                _satoshis(output["value"])
                for output in found["vout"]
                if addresses.normalize(str(output.get("address"))) == reference
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise nonsense("/api/tx_detail") from error
        if status is None:
            raise nonsense("/api/tx_detail")
        return self._sighting(
            reference, {"txid": txid, "value": paid, "status": status, "rbf": found.get("rbf")}
        )

    def received(self, references: list[str]) -> dict[str, int]:
        held = dict.fromkeys(references, 0)
        # One invented address (of the test mode) makes Blockonomics refuse the whole question.
        real = [each for each in references if addresses.is_valid(each, settings.BITCOIN_NETWORK)]
        for row in self.client.balances(real) if real else []:
            address = addresses.normalize(str(row.get("addr")))
            if address in held:
                try:
                    held[address] = sum(
                        _satoshis(row.get(name) or 0) for name in ("confirmed", "unconfirmed")
                    )
                except (TypeError, ValueError) as error:
                    raise nonsense("/api/balance") from error
        return held

    def read_message(self, reference: str, text: str) -> Sighting | None:
        try:
            message = read_json(text, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError):
            return None
        return self._sighting(reference, message) if isinstance(message, dict) else None

    def _sighting(self, reference: str, row: dict) -> Sighting | None:
        """What `txid value status [rbf]` tell, None if they are not all there and right."""
        try:
            status, value = _satoshis(row["status"]), _satoshis(row["value"])
            txid = self._txid({"txid": str(row["txid"])})
        except (KeyError, TypeError, ValueError, BadRequest):
            return None
        if status not in (0, 1, 2) or not 0 < value <= money.MAX_SATOSHIS:
            return None
        # Seen as a number, as words ("Opt-In") and as an empty text.
        replaceable = status == 0 and row.get("rbf") not in (None, "", 0, "0", False)
        return Sighting(reference, txid, value, status, replaceable)

    def socket_url(self, reference: str) -> str:
        parts = urlsplit(settings.BLOCKONOMICS_URL)
        scheme = "ws" if parts.scheme == "http" else "wss"
        return urlunsplit((scheme, parts.netloc, f"{parts.path}/payment/{reference}", "", ""))

    def take_back(self, reference: str):
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
        address = self.client.new_address(self.callback_url())
        if addresses.is_valid(address, settings.BITCOIN_NETWORK):
            address = addresses.normalize(address)
            xpub, window = settings.BLOCKONOMICS_XPUB, settings.BLOCKONOMICS_XPUB_WINDOW
            if xpub and not keys.owns(xpub, address, window):
                raise ProviderRefused(
                    f"Blockonomics /api/new_address answered {address}, which is none of the "
                    f"first {window} addresses of BLOCKONOMICS_XPUB. Nobody was shown it. If you "
                    "did not change the wallet, somebody else did: look at your account.",
                    DISTRUST,
                    alarming=True,
                )
            return address
        if settings.BLOCKONOMICS_TEST_MODE and re.fullmatch(r"1TestBTCAddress\w*", address):
            return address
        raise ProviderRefused(
            f"Blockonomics /api/new_address answered {address[:90]!r}, which is no "
            f"{settings.BITCOIN_NETWORK} bitcoin address. Compare BITCOIN_NETWORK with the wallet; "
            "the store may be in test mode.",
            DISTRUST,
        )

    def _address(self, words: dict) -> str:
        address = words.get("addr", "")
        if not re.fullmatch(r"[0-9A-Za-z]{20,100}", address, re.ASCII):
            raise BadRequest("addr: a bitcoin address is needed.")
        return addresses.normalize(address)

    def _txid(self, words: dict) -> str:
        txid = words.get("txid", "")
        if re.fullmatch(r"[0-9a-fA-F]{64}", txid, re.ASCII):
            return txid.lower()
        # Simulated payments carry words instead of a hash; they must never pay a real order.
        if settings.BLOCKONOMICS_TEST_MODE and re.fullmatch(r"\w{10,100}", txid, re.ASCII):
            return txid
        raise BadRequest("txid: 64 hexadecimal digits are needed.")


def _satoshis(number) -> int:
    """A whole number of an answer; ValueError or TypeError if it is none, or beyond all bitcoin."""
    if isinstance(number, bool):
        raise TypeError("true and false are no numbers")
    # Compared before it is converted: 1e999999999 would take hours.
    if isinstance(number, Decimal) and not -money.MAX_SATOSHIS <= number <= money.MAX_SATOSHIS:
        raise ValueError("more than there is")
    if isinstance(number, Decimal) and number != number.to_integral_value():
        raise ValueError("no whole number")
    return int(number)


def _leaves_the_address(row: dict) -> bool:
    """Whether a row of the history is the address's own spending, which pays it nothing."""
    try:
        return _satoshis(row["value"]) <= 0
    except (KeyError, TypeError, ValueError):
        return False


def _single_values(query: QueryDict) -> dict[str, str]:
    if any(len(values) > 1 for _, values in query.lists()):
        raise BadRequest("Each parameter may be given once only.")
    return query.dict()


def _whole_number(words: dict, name: str, least: int, most: int, default: str = "") -> int:
    text = words.get(name, default)
    if not re.fullmatch(r"-?[0-9]{1,17}", text, re.ASCII) or not least <= int(text) <= most:
        raise BadRequest(f"{name}: a whole number from {least} to {most} is needed.")
    return int(text)
