"""The facts: accounts with stores and wallets, the chain, the callbacks, and the one settings row.

Money is whole satoshis; prices are Decimal.
"""

import re
from decimal import Decimal
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, Max, OuterRef, Q, Subquery, Sum
from django.db.transaction import atomic
from django.utils import timezone

from sandbox import conf, keys

SATOSHIS_PER_BITCOIN = 100_000_000
MAX_SATOSHIS = 21_000_000 * SATOSHIS_PER_BITCOIN
FIRST_HEIGHT = 840_000
UNCONFIRMED, PARTIALLY_CONFIRMED, CONFIRMED = 0, 1, 2
TXID = re.compile(r"[0-9a-f]{64}")

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


def check_callback_url(url):
    """ValidationError unless it is http or https; unlike a URLField, hosts need no dot."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValidationError("Give a full URL that starts with http:// or https://.")


def check_key(key):
    """ValidationError unless it is an extended public key."""
    try:
        keys.receive_branch(key)
    except keys.NotAKey as error:
        raise ValidationError(str(error)) from error


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


class Account(models.Model):
    """Whoever holds one API key."""

    api_key = models.CharField(max_length=200, unique=True)

    def __str__(self):
        return self.emailid

    @property
    def emailid(self):
        return f"account{self.pk}@sandbox.example"


class Wallet(models.Model):
    """An extended public key, and how many addresses it has given."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="wallets")
    name = models.CharField(max_length=100, blank=True)
    address = models.CharField("extended public key", max_length=200, validators=[check_key])
    xpub_index = models.PositiveIntegerField("index of the next address", default=0)
    gap_limit = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["account", "address"], name="one_wallet_per_key")
        ]

    def __str__(self):
        return self.name or self.address[:12]

    @property
    def unused_in_a_row(self):
        """How many of the newest addresses nobody has ever paid to."""
        derived = self.addresses.filter(index__isnull=False)
        last_used = derived.filter(Exists(Output.objects.filter(address=OuterRef("address"))))
        after = last_used.aggregate(index=Max("index"))["index"]
        return derived.filter(index__gt=-1 if after is None else after).count()


class Store(models.Model):
    """A shop of the account: where its callbacks go, and which wallet its money."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="stores")
    wallet = models.ForeignKey(
        Wallet, models.SET_NULL, null=True, blank=True, related_name="stores"
    )
    name = models.CharField(max_length=100, blank=True)
    http_callback = models.CharField(
        "callback URL", max_length=1000, blank=True, validators=[check_callback_url]
    )
    testmode = models.BooleanField("test mode", default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["pk"]

    def __str__(self):
        return self.name or f"store {self.pk}"


class AddressQuerySet(models.QuerySet):
    def issue(self, wallet, store):
        """The wallet's next address, watched for the store. Two at once get two addresses."""
        if store is not None and store.testmode:
            return self.create(wallet=wallet, store=store, address=keys.invent_test_address())
        with atomic():
            locked = Wallet.objects.select_for_update().get(pk=wallet.pk)
            index = locked.xpub_index
            locked.xpub_index = index + 1
            locked.save(update_fields=["xpub_index"])
            address = keys.address_at(locked.address, index)
            return self.create(wallet=locked, store=store, index=index, address=address)


class Address(models.Model):
    """A watched address; index is empty for one of the test mode."""

    wallet = models.ForeignKey(Wallet, models.CASCADE, related_name="addresses")
    store = models.ForeignKey(
        Store, models.SET_NULL, null=True, blank=True, related_name="addresses"
    )
    address = models.CharField(max_length=100, db_index=True)
    index = models.PositiveIntegerField(null=True, blank=True)
    asked_value = models.BigIntegerField("what the last link asked for", null=True, blank=True)
    label = models.CharField(max_length=200, blank=True)
    issued_at = models.DateTimeField(default=timezone.now)

    objects = AddressQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["wallet", "index"], name="one_address_per_index"),
            models.UniqueConstraint(fields=["wallet", "address"], name="one_row_per_address"),
            models.CheckConstraint(
                condition=Q(asked_value__isnull=True) | Q(asked_value__gte=0),
                name="asked_value_not_negative",
            ),
        ]

    def __str__(self):
        return self.address


class Block(models.Model):
    height = models.PositiveIntegerField(unique=True)
    mined_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-height"]

    def __str__(self):
        return f"block {self.height}"


class TransactionQuerySet(models.QuerySet):
    def alive(self):
        """In a block or in the mempool; neither replaced nor dropped."""
        return self.filter(fate=Transaction.Fate.ALIVE)

    def with_txid(self, txid):
        """At most one. Asked from outside: what is no transaction id never reaches the database."""
        return self.filter(txid=txid) if TXID.fullmatch(txid) else self.none()

    def mempool(self):
        return self.alive().filter(block=None)

    def paying(self, *addresses):
        paid = Output.objects.filter(transaction=OuterRef("pk"), address__in=addresses)
        return self.filter(Exists(paid))

    def touching(self, *addresses):
        """Those that pay one of the addresses, or spend from one."""
        paid = Output.objects.filter(transaction=OuterRef("pk"), address__in=addresses)
        return self.filter(Exists(paid) | Q(payer__in=addresses))


class TransactionManager(models.Manager.from_queryset(TransactionQuerySet)):
    def get_queryset(self):
        tip = Block.objects.order_by("-height").values("height")[:1]
        return super().get_queryset().select_related("block").annotate(tip=Subquery(tip))


class Transaction(models.Model):
    """A payment on the sandbox's chain."""

    class Fate(models.TextChoices):
        ALIVE = "alive"
        REPLACED = "replaced"
        DROPPED = "dropped"

    class Replaceable(models.IntegerChoices):
        NOT_MARKED = 0
        OPT_IN = 1
        INHERITED = 2

    txid = models.CharField(max_length=64, unique=True)
    block = models.ForeignKey(
        Block, models.SET_NULL, null=True, blank=True, related_name="transactions"
    )
    payer = models.CharField(max_length=100)
    fee = models.BigIntegerField()
    size = models.PositiveIntegerField("size in bytes")
    rbf = models.PositiveSmallIntegerField(choices=Replaceable, default=Replaceable.NOT_MARKED)
    fate = models.CharField(max_length=10, choices=Fate, default=Fate.ALIVE)
    replaced_by = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="replaces"
    )
    seen_at = models.DateTimeField(default=timezone.now)

    objects = TransactionManager()

    class Meta:
        ordering = ["-pk"]
        base_manager_name = "objects"
        constraints = [
            models.CheckConstraint(condition=Q(fee__gte=0), name="fee_not_negative"),
            models.CheckConstraint(condition=Q(rbf__lte=2), name="rbf_is_known"),
        ]

    def __str__(self):
        return self.txid

    @property
    def confirmations(self):
        return self.tip - self.block.height + 1 if self.block else 0

    @property
    def status(self):
        return min(self.confirmations, CONFIRMED)

    @property
    def is_alive(self):
        return self.fate == self.Fate.ALIVE

    @property
    def can_change(self):
        return self.is_alive and self.block is None

    @property
    def total(self):
        return sum(output.value for output in self.outputs.all())

    @property
    def addresses(self):
        """Each address it pays, once, in the order of the outputs."""
        return list(dict.fromkeys(output.address for output in self.outputs.all()))

    def value_to(self, *addresses):
        """Satoshis that reach these addresses, two outputs to one of them added up."""
        return sum(output.value for output in self.outputs.all() if output.address in addresses)


class Output(models.Model):
    transaction = models.ForeignKey(Transaction, models.CASCADE, related_name="outputs")
    position = models.PositiveSmallIntegerField()
    address = models.CharField(max_length=100, db_index=True)
    value = models.BigIntegerField("value in satoshis")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["transaction", "position"], name="one_output_per_position"
            ),
            models.CheckConstraint(condition=Q(value__gte=0), name="output_value_not_negative"),
        ]

    def __str__(self):
        return f"{self.value} to {self.address}"


def received(address, confirmed):
    """Satoshis that an address got in transactions with two confirmations, or with fewer."""
    tip = Block.objects.aggregate(height=Max("height"))["height"] or 0
    deep = Q(transaction__block__height__lte=tip - 1)
    outputs = Output.objects.filter(
        deep if confirmed else ~deep | Q(transaction__block=None),
        address=address,
        transaction__fate=Transaction.Fate.ALIVE,
    )
    return outputs.aggregate(sum=Sum("value"))["sum"] or 0


class Delivery(models.Model):
    """One callback that a store is owed: a transaction of one of its addresses has a new status."""

    class State(models.TextChoices):
        DUE = "due"
        HELD = "held"  # until the next status is delivered: how "reordered" is done
        DELIVERED = "delivered"
        GIVEN_UP = "given up"
        CANCELLED = "cancelled"

    store = models.ForeignKey(Store, models.CASCADE, related_name="deliveries")
    transaction = models.ForeignKey(Transaction, models.CASCADE, related_name="deliveries")
    address = models.CharField(max_length=100)
    status = models.PositiveSmallIntegerField()
    value = models.BigIntegerField("value in satoshis")
    state = models.CharField(max_length=10, choices=State, default=State.DUE)
    copies_left = models.PositiveSmallIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    claimed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "deliveries"
        indexes = [models.Index(fields=["state", "due_at"], name="deliveries_by_due_at")]
        constraints = [
            models.UniqueConstraint(
                fields=["store", "transaction", "address", "status"],
                name="one_delivery_per_event",
            ),
            models.CheckConstraint(condition=Q(value__gt=0), name="delivery_of_some_value"),
        ]

    def __str__(self):
        return f"status {self.status} to {self.store}"


class Attempt(models.Model):
    """One request of a delivery, as the log shows it."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    url = models.TextField()
    started_at = models.DateTimeField()
    milliseconds = models.PositiveIntegerField()
    response_code = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.TextField(blank=True)
    body = models.CharField("first 300 characters of the answer", max_length=300, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="one_row_per_attempt")
        ]

    def __str__(self):
        return f"request {self.number} of {self.delivery}"
