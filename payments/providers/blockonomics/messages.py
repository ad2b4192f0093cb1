"""What Blockonomics says, in exact types: answers, callbacks and the messages of its sockets.

Amounts are whole satoshis within what bitcoin there is; nothing ever becomes a float. The reasons
for each tolerance stand beside it. Source: https://developers.blockonomics.co/reference
"""

import re
from decimal import Context, Decimal, InvalidOperation
from json import loads
from typing import Annotated, Any

from django.conf import settings
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)

from payments.bitcoin import MAX_SATOSHIS, addresses

RATE_STEP = Decimal("0.00000001")
MAX_RATE = Decimal(10) ** 15
# SQLite keeps no more digits; what was promised and what is kept must be the same.
KEPT = Context(prec=15)
# What Blockonomics reports nothing deeper than.
FINAL = 2
STATUS_WORDS = {"unconfirmed": 0, "partially confirmed": 1, "confirmed": FINAL}
# What a wallet has unless its owner sets another.
GAP_LIMIT = 20


def read_json(text: str | bytes) -> dict | None:
    """The JSON object in the text, its numbers as exact Decimals; None if there is none."""
    try:
        found = loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=str)
    except (ValueError, ArithmeticError, RecursionError):  # 1e99999999999999999999, say
        return None
    return found if isinstance(found, dict) else None


# Types


def whole_number(given) -> int:
    """A whole number of satoshis, below zero where coins leave; ValueError if it is none."""
    if isinstance(given, bool):
        raise ValueError("true and false are no numbers")
    if isinstance(given, str) and re.fullmatch(r"-?[0-9]{1,16}", given, re.ASCII):
        given = int(given)
    if not isinstance(given, int | Decimal):
        raise ValueError("no number")
    # Compared before it is converted: 1e999999999 would take hours.
    if not -MAX_SATOSHIS <= given <= MAX_SATOSHIS:
        raise ValueError("more than there is")
    if given != int(given):
        raise ValueError("no whole number")
    return int(given)


def transaction_id(given) -> str:
    """64 hexadecimal digits in small letters, or words in the test mode."""
    text = str(given)
    if re.fullmatch(r"[0-9a-fA-F]{64}", text, re.ASCII):
        return text.lower()
    # Simulated payments carry words instead of a hash; they must never pay a real order.
    if settings.BLOCKONOMICS_TEST_MODE and re.fullmatch(r"\w{10,100}", text, re.ASCII):
        return text
    raise ValueError("64 hexadecimal digits are needed.")


def bitcoin_address(text: str) -> str:
    """What may be an address, in its one spelling; which addresses are ours, the shop knows."""
    if not re.fullmatch(r"[0-9A-Za-z]{20,100}", text, re.ASCII):
        raise ValueError("a bitcoin address is needed.")
    return addresses.normalize(text)


def market_price(given) -> Decimal:
    """A price above zero and not astronomical, in eight decimals and 15 digits at the most."""
    try:
        rate = Decimal(0) if isinstance(given, bool) else Decimal(given)
        rate = KEPT.plus(rate.quantize(RATE_STEP))
    except (InvalidOperation, TypeError, ValueError):
        rate = Decimal(0)
    if not (rate.is_finite() and 0 < rate < MAX_RATE):
        raise ValueError("no price")
    return rate


def text_or_nothing(given) -> str:
    return given if isinstance(given, str) else ""


def digits(least: int, most: int) -> type[int]:
    """The type of a whole number in decimal digits, as queries carry it."""

    def read(text: str) -> int:
        is_number = re.fullmatch(r"-?[0-9]{1,17}", text, re.ASCII)
        if not is_number or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most} is needed.")
        return int(text)

    return Annotated[int, BeforeValidator(read)]


WholeNumber = Annotated[int, BeforeValidator(whole_number)]
# Nothing at all stands for zero.
Held = Annotated[WholeNumber, BeforeValidator(lambda given: 0 if given in (None, "") else given)]
Status = Annotated[WholeNumber, Field(ge=0, le=FINAL)]
Amount = Annotated[WholeNumber, Field(ge=1, le=MAX_SATOSHIS)]
TransactionId = Annotated[str, BeforeValidator(transaction_id)]
Text = Annotated[str, BeforeValidator(text_or_nothing)]
# An address as the shop writes it, whatever else stands there.
Address = Annotated[str, BeforeValidator(str), AfterValidator(addresses.normalize)]
Price = Annotated[Decimal, BeforeValidator(market_price)]

SATOSHIS = TypeAdapter(WholeNumber)


class Message(BaseModel):
    """Something that Blockonomics says; what it adds to it one day does no harm."""

    # An error that repeats what was said could carry a secret into a log.
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


# Answers


class NewAddress(Message):
    """POST /api/new_address; `account` is the xpub that the address belongs to, if it is told."""

    address: Text = ""
    account: Text = ""


class MarketPrice(Message):
    """GET /api/price: fiat for one bitcoin; null for a currency that it does not know."""

    price: Price | None = None


class Payment(Message):
    """One payment to one address: a row of a history, or a message of a socket."""

    txid: TransactionId
    value: Amount
    status: Status
    # Seen as a number, as words ("Opt-In") and as an empty text.
    rbf: Any = None

    @property
    def is_replaceable(self) -> bool:
        return self.status == 0 and self.rbf not in (None, "", 0, "0", False)


class Spending(Message):
    """A row of a history that pays the address nothing: its own coins leave it."""

    value: Annotated[WholeNumber, Field(le=0)]


class History(Message):
    """POST /api/searchhistory; `history` has what is confirmed twice, without a status.

    A row that is neither a payment nor a spending spoils the whole: passed over, a payment would
    seem to be gone.
    """

    pending: list[Payment | Spending]
    history: list[Payment | Spending]

    @field_validator("history", mode="before")
    @classmethod
    def _are_final(cls, rows):
        if not isinstance(rows, list):
            return rows
        return [{**row, "status": FINAL} if isinstance(row, dict) else row for row in rows]

    @property
    def payments(self) -> list[Payment]:
        return [row for row in (*self.pending, *self.history) if isinstance(row, Payment)]


class Holding(Message):
    """What one address holds, in satoshis."""

    confirmed: Held = 0
    unconfirmed: Held = 0


class HoldingOf(Message):
    addr: Address = ""


class Balances(Message):
    """POST /api/balance; only the rows of addresses that were asked about have to be right."""

    response: list[dict]

    def of(self, wanted: list[str]) -> dict[str, int]:
        """What the addresses hold, unconfirmed included; those that it tells of only."""
        asked, held = set(wanted), {}
        for row in self.response:
            address = HoldingOf.model_validate(row).addr
            if address in asked:
                holding = Holding.model_validate(row)
                held[address] = holding.confirmed + holding.unconfirmed
        return held


class Output(Message):
    """One output of a transaction; those that pay to nobody's address may lack anything."""

    address: Address = ""
    value: Any = None


class TransactionDetail(Message):
    """GET /api/tx_detail; `status` is told in words here."""

    status: Status
    vout: list[Output]
    rbf: Any = None

    @field_validator("status", mode="before")
    @classmethod
    def _in_words(cls, words):
        return STATUS_WORDS.get(str(words).lower())

    def paid_to(self, address: str) -> int:
        """What its outputs pay to the address, in satoshis; ValueError if that makes no sense."""
        return sum(
            SATOSHIS.validate_python(output.value)
            for output in self.vout
            if output.address == address
        )


class Wallet(Message):
    gap_limit: Held = 0


class Store(Message):
    http_callback: Text = ""
    wallets: list[Wallet] | None = None

    @property
    def gap_limits(self) -> list[int]:
        """After how many unused addresses in a row each of its wallets stops looking."""
        return [wallet.gap_limit or GAP_LIMIT for wallet in self.wallets or []]


class Stores(Message):
    """GET /api/v2/stores"""

    data: list[Store]


# Callbacks


class Subject(Message):
    """What a callback is about; -1 is told of orders that are no bitcoin payments."""

    status: digits(-1, FINAL) = Field("", validate_default=True)
    crypto: str = "BTC"


class PaymentCallback(Message):
    """`addr status value txid [rbf]` of a callback about a bitcoin payment."""

    status: digits(0, FINAL) = Field("", validate_default=True)
    addr: Annotated[str, BeforeValidator(bitcoin_address)] = Field("", validate_default=True)
    txid: TransactionId = Field("", validate_default=True)
    value: digits(1, MAX_SATOSHIS) = Field("", validate_default=True)
    rbf: digits(0, 2) = 0

    @field_validator("rbf", mode="before")
    @classmethod
    def _matters_while_unconfirmed(cls, text: str, info: ValidationInfo):
        return text if info.data.get("status") == 0 else "0"

    @property
    def is_replaceable(self) -> bool:
        return self.rbf > 0
