"""The chain's facts: blocks, and the transactions in them and in the mempool."""

import re

from django.db import models
from django.db.models import Exists, Max, OuterRef, Q, Subquery, Sum
from django.utils import timezone

SATOSHIS_PER_BITCOIN = 100_000_000
MAX_SATOSHIS = 21_000_000 * SATOSHIS_PER_BITCOIN
FIRST_HEIGHT = 840_000
UNCONFIRMED, PARTIALLY_CONFIRMED, CONFIRMED = 0, 1, 2
TXID = re.compile(r"[0-9a-f]{64}")


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
        spent = Input.objects.filter(transaction=OuterRef("pk"), address__in=addresses)
        return self.filter(Exists(paid) | Exists(spent))


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
    def payments(self):
        """The outputs without the change."""
        return [output for output in self.outputs.all() if not output.is_change]

    @property
    def total(self):
        """Satoshis that it pays, without the change."""
        return sum(output.value for output in self.payments)

    @property
    def addresses(self):
        """Each address that an output goes to, once, in the order of the outputs."""
        return list(dict.fromkeys(output.address for output in self.outputs.all()))

    @property
    def payers(self):
        """Each address that it spends from, once, in the order of the inputs."""
        return list(dict.fromkeys(spent.address for spent in self.inputs.all()))

    def value_from(self, *addresses):
        """Satoshis that it spends from these addresses."""
        return sum(spent.value for spent in self.inputs.all() if spent.address in addresses)

    def value_to(self, *addresses):
        """Satoshis that reach these addresses, two outputs to one of them added up."""
        return sum(output.value for output in self.outputs.all() if output.address in addresses)


class Input(models.Model):
    """A coin that a transaction spends."""

    transaction = models.ForeignKey(Transaction, models.CASCADE, related_name="inputs")
    position = models.PositiveSmallIntegerField()
    address = models.CharField(max_length=100, db_index=True)
    value = models.BigIntegerField("value in satoshis")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["transaction", "position"], name="one_input_per_position"
            ),
            models.CheckConstraint(condition=Q(value__gt=0), name="input_of_some_value"),
        ]

    def __str__(self):
        return f"{self.value} from {self.address}"


class Output(models.Model):
    transaction = models.ForeignKey(Transaction, models.CASCADE, related_name="outputs")
    position = models.PositiveSmallIntegerField()
    address = models.CharField(max_length=100, db_index=True)
    value = models.BigIntegerField("value in satoshis")
    is_change = models.BooleanField("goes back to who pays", default=False)

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
