"""Who is served: accounts with stores and wallets, and the addresses that are watched for them."""

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Exists, Max, OuterRef, Q
from django.db.transaction import atomic
from django.utils import timezone

from sandbox import keys
from sandbox.models.network import Output


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
