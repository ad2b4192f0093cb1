"""HTTP to Blockonomics: https://developers.blockonomics.co/reference

Knows nothing of invoices. Every call ends in a message or in a ProviderError that names the
endpoint and what the merchant has to do.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import TypeVar
from urllib.parse import quote, quote_plus

from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from pydantic import ValidationError

from payments.bitcoin import xpub as keys
from payments.providers import http
from payments.providers.base import ProviderRefused, ProviderUnavailable

from . import messages

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
GAP_LIMIT_CODES = {1006, 1007, 1008, 1009}
# Older answers carry no number, only these words.
CODES_BY_WORDS = {
    "add an xpub": 1001,
    "multiple xpub": 1002,
    "matching xpub": 1003,
    "gap limit": 1006,
    "match_callback": 1032,
}
# What shoppers are told.
NO_ANSWER = _("The bitcoin payment service does not answer at the moment.")
REFUSED = _("The bitcoin payment service refused to take this payment.")
DISTRUST = _(
    "The bitcoin payment service gave us an address that we do not trust, so it is not shown."
)

M = TypeVar("M", bound=messages.Message)
NO_STORE_CODES = {1003, 1032}


class NoSuchStore(ProviderRefused):
    """No store of the account has the callback URL that was named."""


class Client:
    """The account's calls, each within `timeout` seconds.

    `secrets` are left out of errors, whatever the service repeats of what it was sent.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        timeout: float,
        xpub: str = "",
        secrets: Iterable[str] = (),
    ):
        self.secrets = [secret for secret in (api_key, *secrets) if secret]
        self.base_url = base_url
        self.api_key = api_key
        self.timeout = timeout
        self.xpub = xpub

    def new_address(self, match_callback: str) -> str:
        """A fresh address of the store whose callback URL contains `match_callback`."""
        params = {"match_callback": match_callback}
        answer = self._tell(messages.NewAddress, "POST", "/api/new_address", params)
        if self.xpub and answer.account and not keys.is_same(answer.account, self.xpub):
            raise ProviderRefused(
                "Blockonomics /api/new_address answered for another account than "
                "BLOCKONOMICS_XPUB. If you did not change the wallet, somebody else did.",
                DISTRUST,
                is_alarming=True,
            )
        if not answer.address:
            raise ProviderUnavailable(
                "Blockonomics /api/new_address answered without an address. Try again; if it "
                "stays so, look at the store's wallet in the Blockonomics dashboard.",
                _("The bitcoin payment service gave us no address to pay to."),
            )
        return answer.address

    def price(self, currency: str) -> Decimal:
        """Units of `currency` for one bitcoin, above zero."""
        answer = self._ask("GET", "/api/price", {"currency": currency, "crypto": "BTC"})
        try:
            price = messages.MarketPrice.model_validate(answer).price
        except ValidationError as error:
            raise ProviderUnavailable(
                f"Blockonomics /api/price answered {str(answer['price'])[:40]!r}, which is no "
                "price.",
                _("The bitcoin payment service gave us no usable price."),
            ) from error
        if price is None:
            raise ProviderRefused(
                f"Blockonomics /api/price has no price in {currency!r}. Set SHOP_CURRENCY to one "
                "of the codes at /api/currencies.",
                format_lazy(
                    _("There is no bitcoin price in {currency} at the moment."), currency=currency
                ),
            )
        return price

    def history(self, address: str) -> list[messages.Payment]:
        """Everything that was paid to the address."""
        question = {"addr": address}
        path = "/api/searchhistory"
        return self._tell(messages.History, "POST", path, json=question).payments

    def balances(self, addresses: list[str]) -> dict[str, int]:
        """What those of up to 100 addresses hold that Blockonomics tells of, in satoshis."""
        path, question = "/api/balance", {"addr": " ".join(addresses)}
        answer = self._tell(messages.Balances, "POST", path, json=question)
        try:
            return answer.of(addresses)
        except ValidationError as error:
            raise nonsense(path) from error

    def payment(self, txid: str, address: str) -> messages.Payment | None:
        """What the transaction pays to the address; None if there is no such one."""
        path = "/api/tx_detail"
        try:
            answer = self._tell(messages.TransactionDetail, "GET", path, {"txid": txid})
            paid = answer.paid_to(address)
        except ProviderRefused as error:
            if error.http_status == 404:
                return None
            raise
        except ValidationError as error:
            raise nonsense(path) from error
        try:
            return messages.Payment(txid=txid, value=paid, status=answer.status, rbf=answer.rbf)
        except ValidationError:
            return None

    def stores(self) -> list[messages.Store]:
        """The account's stores and their wallets."""
        params = {"wallets": "true"}
        return self._tell(messages.Stores, "GET", "/api/v2/stores", params).data

    def _tell(
        self, kind: type[M], method: str, path: str, params: dict | None = None, json=None
    ) -> M:
        try:
            return kind.model_validate(self._ask(method, path, params, json))
        except ValidationError as error:
            raise nonsense(path) from error

    def _ask(self, method: str, path: str, params: dict | None = None, json=None) -> dict:
        try:
            status, body = http.ask(
                method,
                self.base_url + path,
                params=params,
                json=json,
                headers={"Authorization": f"Bearer {self.api_key}"},
                seconds=self.timeout,
            )
        except http.CallFailed as error:
            raise ProviderUnavailable(
                f"Blockonomics {path} did not answer: {error}. If this goes on, check that this "
                "server reaches BLOCKONOMICS_URL.",
                NO_ANSWER,
            ) from error
        answer = messages.read_json(body)
        if status == 200 and answer is not None:
            return answer
        code, words = _error_code(answer)
        raise _error(path, status, code, without(self.secrets, words)[:200])


def without(secrets: Iterable[str], text: str) -> str:
    """The text with each secret blotted out, written plainly or percent-encoded."""
    for secret in secrets:
        for written in {secret, quote(secret, safe=""), quote_plus(secret)}:
            text = text.replace(written, "[secret]")
    return text


def nonsense(path: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"Blockonomics {path} answered nonsense.",
        _("The bitcoin payment service answered something that we could not understand."),
    )


def _error(
    path: str, status: int, code: int | None, words: str
) -> ProviderUnavailable | ProviderRefused:
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
        kind = NoSuchStore if code in NO_STORE_CODES else ProviderRefused
        return kind(
            f"{said}. {ADVICE[code]}",
            _("This shop’s account with the bitcoin payment service is not set up completely."),
        )
    if 400 <= status < 500 and status not in (408, 425, 429):
        return ProviderRefused(said, REFUSED, http_status=status)
    if status == 200:
        return nonsense(path)
    return ProviderUnavailable(
        said, _("The bitcoin payment service has trouble of its own at the moment.")
    )


def _error_code(answer: dict | None) -> tuple[int | None, str]:
    """Number and words of an error; four shapes of answers are in use."""
    if answer is None:
        return None, ""
    error = answer.get("error")
    inner = error if isinstance(error, dict) else answer
    words = inner.get("message") or (error if isinstance(error, str) else "")
    words = str(words)
    number = str(inner.get("code", ""))
    if re.fullmatch(r"1[0-9]{3}", number, re.ASCII):
        return int(number), words
    hits = [code for phrase, code in CODES_BY_WORDS.items() if phrase in words.lower()]
    return (hits or [None])[0], words
