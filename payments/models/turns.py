from datetime import timedelta

from django.db import models
from django.utils import timezone


class TurnManager(models.Manager):
    def take(self, name: str, pause: timedelta) -> "Turn | None":
        """This process's turn, or None; the next one comes after the pause."""
        self.get_or_create(name=name, defaults={"next_at": timezone.now()})
        now = timezone.now()
        # A conditional UPDATE: of several processes at once, one finds the row as it was.
        taken = self.filter(name=name, next_at__lte=now).update(next_at=now + pause)
        return Turn(name=name, next_at=now + pause) if taken else None


class Turn(models.Model):
    """What several processes may do one after the other only, and not too often.

    It holds until `next_at`, even if who took it has died.
    """

    name = models.CharField(max_length=60, primary_key=True)
    next_at = models.DateTimeField()

    objects = TurnManager()

    def __str__(self):
        return self.name

    def prolong(self, pause: timedelta) -> bool:
        """Puts the next turn off, to a pause from now; False if somebody else has it already."""
        mine = Turn.objects.filter(name=self.name, next_at=self.next_at)
        self.next_at = timezone.now() + pause
        return bool(mine.update(next_at=self.next_at))
