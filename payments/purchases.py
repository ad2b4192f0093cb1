"""The purchases of one browser, without an account: what was opened or bought in it."""

from dataclasses import dataclass

from django.db.models import Q

from .models import Invoice

MOST_REMEMBERED = 50


@dataclass
class Purchases:
    session: dict

    @property
    def opened(self) -> list[int]:
        """The invoices that were opened here, the latest first; by number, which opens no door."""
        return self.session.get("opened", [])

    def note(self, invoice) -> None:
        """Remembers an invoice that is opened here for the first time."""
        if invoice.pk not in self.opened:
            self.session["opened"] = [invoice.pk, *self.opened][:MOST_REMEMBERED]

    def invoices(self):
        """The newest first; `visitor` is who bought in this browser."""
        own = Q(pk__in=self.opened)
        if visitor := self.session.get("visitor"):
            own |= Q(visitor=visitor)
        found = Invoice.objects.filter(own).prefetch_related("transactions", "lines")
        return found.order_by("-pk")[:MOST_REMEMBERED]
