from contextlib import contextmanager
from datetime import timedelta

from django.db import models, transaction
from django.utils import timezone


class TurnManager(models.Manager):
    def take(self, name: str, pause: timedelta) -> bool:
        """Whether it is this process's turn; then the next one comes after the pause."""
        self.get_or_create(name=name, defaults={"next_at": timezone.now()})
        now = timezone.now()
        return bool(self.filter(name=name, next_at__lte=now).update(next_at=now + pause))

    @contextmanager
    def alone(self, name: str):
        """A transaction that only one process at a time is in."""
        with transaction.atomic():
            self.get_or_create(name=name, defaults={"next_at": timezone.now()})
            self.select_for_update().get(name=name)
            yield


class Turn(models.Model):
    """What several processes may do one after the other only, and not too often."""

    name = models.CharField(max_length=60, primary_key=True)
    next_at = models.DateTimeField()

    objects = TurnManager()

    def __str__(self):
        return self.name
