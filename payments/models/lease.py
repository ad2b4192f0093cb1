from datetime import timedelta

from django.db import models
from django.utils import timezone


class LeaseManager(models.Manager):
    def acquire(self, name: str, pause: timedelta) -> "Lease | None":
        """The lease for this process, or None if another one holds it until its pause is over."""
        self.get_or_create(name=name, defaults={"next_at": timezone.now()})
        now = timezone.now()
        # A conditional UPDATE: of several processes at once, one finds the row as it was.
        taken = self.filter(name=name, next_at__lte=now).update(next_at=now + pause)
        return Lease(name=name, next_at=now + pause) if taken else None


class Lease(models.Model):
    """A right that one process at a time has, until `next_at`, even if that process has died."""

    name = models.CharField(max_length=60, primary_key=True)
    next_at = models.DateTimeField()

    objects = LeaseManager()

    def __str__(self):
        return self.name

    def renew(self, pause: timedelta) -> bool:
        """Moves the end to a pause from now; False if another process holds the lease already."""
        own = Lease.objects.filter(name=self.name, next_at=self.next_at)
        self.next_at = timezone.now() + pause
        return bool(own.update(next_at=self.next_at))
