"""The purchases of one browser, without an account: what was opened in it."""

from dataclasses import dataclass

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
        """The newest first. Buying leads to the invoice's page, and so into this list.

        Not by `visitor`: that is drawn from a cookie which scripts may read, no proof of anything.
        """
        found = Invoice.objects.filter(pk__in=self.opened)
        return found.with_payments().prefetch_related("lines").order_by("-pk")
