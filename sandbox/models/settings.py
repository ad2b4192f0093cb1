"""The one row that says how the sandbox behaves: the price, the faults, and every guess."""

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from sandbox import conf
from sandbox.models.network import PARTIALLY_CONFIRMED, UNCONFIRMED

FAULTS_OF_EVERY_CALL = ["none", "timeout", "500", "503", "429", "403", "401", "garbage", "empty"]
FAULTS = {
    "new_address": [
        *FAULTS_OF_EVERY_CALL,
        "gap_limit",
        "banned",
        "disabled",
        "empty_address",
        "duplicate_address",
    ],
    "price": [*FAULTS_OF_EVERY_CALL, "null", "zero"],
    "searchhistory": FAULTS_OF_EVERY_CALL,
    "balance": FAULTS_OF_EVERY_CALL,
    "tx_detail": FAULTS_OF_EVERY_CALL,
}


def check_faults(faults):
    """ValidationError unless it maps API calls to faults that they know."""
    if not isinstance(faults, dict):
        raise ValidationError('Give an object such as {"price": "timeout"}.')
    for call, fault in faults.items():
        if call not in FAULTS:
            raise ValidationError(f"There is no call {call!r}; there are {', '.join(FAULTS)}.")
        if fault not in FAULTS[call]:
            raise ValidationError(f"{call} knows the faults {', '.join(FAULTS[call])}.")


def check_statuses(statuses):
    """ValidationError unless it is a list of statuses 0, 1, 2."""
    known = isinstance(statuses, list) and all(
        type(status) is int and status in (0, 1, 2) for status in statuses
    )
    if not known:
        raise ValidationError("Give a list of statuses, such as [0, 1].")


def default_skipped():
    return [UNCONFIRMED, PARTIALLY_CONFIRMED]


class SettingsQuerySet(models.QuerySet):
    def current(self):
        return self.get_or_create(pk=1)[0]

    def locked(self):
        """The row, locked until the transaction ends: whoever changes the chain queues here."""
        self.current()
        return self.select_for_update().get(pk=1)


class Settings(models.Model):
    """The one row that says how the sandbox behaves: the price, the faults, and every guess."""

    class ErrorShape(models.TextChoices):
        DOCUMENTED = "documented"
        MESSAGE = "message"
        LEGACY = "legacy"
        NESTED = "nested"
        STRING = "string"

    class Callbacks(models.TextChoices):
        NORMAL = "normal"
        OFF = "off"
        TWICE = "twice"
        REORDERED = "reordered"
        SKIPPING = "skipping"

    class WebSocket(models.TextChoices):
        NORMAL = "normal"
        NO_TXID = "no_txid"
        ERROR_MSG = "error_msg"
        REFUSE = "refuse"

    class CurrenciesShape(models.TextChoices):
        OBJECTS = "objects"
        CODES = "codes"

    class GapLimitCode(models.IntegerChoices):
        EXCEEDED = 1006
        TOO_MANY_UNPAID = 1008
        NO_FUNDS = 1009

    price = models.DecimalField(
        "price of one bitcoin in US dollars",
        max_digits=14,
        decimal_places=2,
        default=Decimal("97123.45"),
        validators=[MinValueValidator(Decimal("0.01"))],
    )
    price_drift = models.DecimalField(
        "largest step of the price, in percent",
        max_digits=5,
        decimal_places=3,
        null=True,
        blank=True,
        help_text="Empty: 0.05 when blocks are mined by themselves, else 0.",
        validators=[MinValueValidator(0), MaxValueValidator(10)],
    )
    faults = models.JSONField(default=dict, blank=True, validators=[check_faults])
    timeout_seconds = models.DecimalField(
        "how long the fault “timeout” holds an answer, in seconds",
        max_digits=6,
        decimal_places=2,
        default=Decimal(30),
        validators=[MinValueValidator(0), MaxValueValidator(600)],
    )
    error_shape = models.CharField(
        "form of the API's errors",
        max_length=12,
        choices=ErrorShape,
        default=ErrorShape.DOCUMENTED,
    )
    gap_limit = models.PositiveIntegerField(
        "unused addresses in a row that a wallet may have",
        default=20,
        validators=[MinValueValidator(1)],
    )
    gap_limit_code = models.PositiveIntegerField(
        "error code of the gap limit", choices=GapLimitCode, default=GapLimitCode.EXCEEDED
    )
    gap_limit_http_status = models.PositiveIntegerField(
        "HTTP status of the gap limit",
        default=500,
        validators=[MinValueValidator(400), MaxValueValidator(599)],
    )
    refused_http_status = models.PositiveIntegerField(
        "HTTP status for banned and disabled accounts",
        default=403,
        validators=[MinValueValidator(400), MaxValueValidator(599)],
    )
    callbacks = models.CharField(
        "how callbacks are sent", max_length=12, choices=Callbacks, default=Callbacks.NORMAL
    )
    skipped_statuses = models.JSONField(
        "statuses that “skipping” leaves out",
        default=default_skipped,
        blank=True,
        validators=[check_statuses],
    )
    callback_retries = models.PositiveIntegerField("retries of a callback", default=7)
    callback_backoff_seconds = models.DecimalField(
        "wait before the first retry, in seconds",
        max_digits=8,
        decimal_places=3,
        default=Decimal(4),
        validators=[MinValueValidator(0)],
    )
    callback_backoff_factor = models.DecimalField(
        "each further wait is longer by the factor",
        max_digits=5,
        decimal_places=2,
        default=Decimal(2),
        validators=[MinValueValidator(1), MaxValueValidator(10)],
    )
    callback_clock = models.DecimalField(
        "scale of the waits (0.01 is a hundred times faster)",
        max_digits=8,
        decimal_places=5,
        default=Decimal(1),
        validators=[MinValueValidator(0)],
    )
    callback_timeout_seconds = models.DecimalField(
        "how long a callback waits for the answer, in seconds",
        max_digits=6,
        decimal_places=2,
        default=Decimal(10),
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(120)],
    )
    callback_crypto = models.BooleanField("callbacks carry crypto=BTC", default=True)
    callback_follows_redirects = models.BooleanField("callbacks follow redirects", default=False)
    websocket = models.CharField(
        "how the payment WebSocket behaves",
        max_length=12,
        choices=WebSocket,
        default=WebSocket.NORMAL,
    )
    search_calls_per_minute = models.PositiveIntegerField(
        "search calls that an account has per minute (0: any number)", default=0
    )
    tx_detail_needs_key = models.BooleanField("tx_detail asks for the API key", default=False)
    currencies_shape = models.CharField(
        "form of the list of currencies",
        max_length=12,
        choices=CurrenciesShape,
        default=CurrenciesShape.OBJECTS,
    )

    dust_relay_fee = models.PositiveIntegerField(
        "satoshis per byte below which an output is dust (0: nothing is)", default=3
    )

    objects = SettingsQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "settings"
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="one_row_of_settings"),
            models.CheckConstraint(condition=Q(price__gt=0), name="price_above_nothing"),
        ]

    def __str__(self):
        return "the sandbox's settings"

    def fault_of(self, call):
        return self.faults.get(call, "none")

    @property
    def price_step_percent(self):
        if self.price_drift is not None:
            return self.price_drift
        return Decimal("0.05") if conf.block_seconds() else Decimal(0)

    def forget_faults(self):
        """Everything answers again as it should; the price and the guesses stay."""
        self.faults = {}
        self.callbacks = self.Callbacks.NORMAL
        self.websocket = self.WebSocket.NORMAL
        self.save()
