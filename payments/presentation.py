"""How an invoice is told to people: one table of states for page, tab, list, mail and staff."""

from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .models import Invoice, Transaction
from .providers.base import Provider
from .settlement import Settlement
from .templatetags.money import fiat

# The door's scale for how far the network is: nothing seen, seen, confirmed once, confirmed.
NOTHING_SEEN, CONFIRMED = -1, 2
STATUS_WORDS = {-1: "Not started", 0: "Unconfirmed", 1: "Partially confirmed", 2: "Confirmed"}


@dataclass(frozen=True)
class State:
    """A settlement as people tell it apart; payments/invoice/states/<name>.html says more of it.

    `title` stands in the tab, `heading` on the page, `label` in the shopper's list of purchases,
    `staff_label` at the merchant's desk.
    """

    name: str
    title: str | Promise
    heading: str | Promise
    label: str | Promise
    staff_label: str
    icon: str

    @property
    def template(self) -> str:
        return f"payments/invoice/states/{self.name}.html"


STATES = {
    state.name: state
    for state in [
        State(
            name="waiting",
            title=gettext_lazy("Waiting for your payment"),
            heading=gettext_lazy("Pay {total}"),
            label=gettext_lazy("Waiting for your payment"),
            staff_label="Waiting for the payment",
            icon="img/waiting.svg",
        ),
        State(
            name="valuing",
            title=gettext_lazy("Payment seen"),
            heading=gettext_lazy("Payment seen"),
            label=gettext_lazy("Something is still missing"),
            staff_label="Something is missing",
            icon="img/moving.svg",
        ),
        State(
            name="underpaid",
            title=gettext_lazy("Something is missing"),
            heading=gettext_lazy("Something is still missing"),
            label=gettext_lazy("Something is still missing"),
            staff_label="Something is missing",
            icon="img/attention.svg",
        ),
        State(
            name="expired",
            title=gettext_lazy("The price has run out"),
            heading=gettext_lazy("The price has run out"),
            label=gettext_lazy("Not paid, and the price has run out"),
            staff_label="The quote is over",
            icon="img/attention.svg",
        ),
        State(
            name="seen",
            title=gettext_lazy("Payment seen"),
            heading=gettext_lazy("Payment seen"),
            label=gettext_lazy("Payment seen, being confirmed"),
            staff_label="Payment seen, waiting for confirmation",
            icon="img/moving.svg",
        ),
        State(
            name="confirming",
            title=gettext_lazy("Being confirmed"),
            heading=gettext_lazy("Your payment is being confirmed"),
            label=gettext_lazy("Payment seen, being confirmed"),
            staff_label="Payment seen, waiting for confirmation",
            icon="img/moving.svg",
        ),
        State(
            name="paid",
            title=gettext_lazy("Paid"),
            heading=gettext_lazy("Paid. Thank you!"),
            label=gettext_lazy("Paid"),
            staff_label="Paid",
            icon="img/paid.svg",
        ),
        State(
            name="cancelled",
            title=gettext_lazy("Cancelled"),
            heading=gettext_lazy("This order is cancelled"),
            label=gettext_lazy("Cancelled"),
            staff_label="Cancelled",
            icon="img/attention.svg",
        ),
        State(
            name="ended",
            title=gettext_lazy("The order has ended"),
            heading=gettext_lazy("This order has ended"),
            label=gettext_lazy("Ended, as it was not paid in time"),
            staff_label="Not paid in time",
            icon="img/attention.svg",
        ),
    ]
}


def state_of(invoice: Invoice, at: datetime) -> State:
    """The state in which people find the invoice at that moment."""
    settlement = invoice.displayed_settlement(at)
    if settlement == Settlement.UNDERPAID and invoice.balance.has_unvalued:
        return STATES["valuing"]
    if settlement == Settlement.CANCELLED and invoice.is_cancelled_by_time:
        return STATES["ended"]
    if settlement == Settlement.CONFIRMING and sum(done for _, done in steps(invoice)) < 2:
        return STATES["seen"]
    return STATES[settlement.value]


def heading(invoice: Invoice, state: State) -> str:
    return str(state.heading).format(total=fiat(invoice.total, invoice.currency))


# How far the payments are


def blocks_needed(invoice: Invoice) -> int:
    """How many blocks make a payment final here."""
    enough = invoice.policy.enough_confirmations(invoice.total)
    return max(enough, 0 if invoice.paid_at else 1)


def steps(invoice: Invoice) -> list[tuple[str, bool]]:
    """How far the slowest of the payments is, as steps done and to be done."""
    depths = [depth(row) for row in invoice.known_transactions]
    slowest = CONFIRMED if invoice.paid_at else min(depths, default=NOTHING_SEEN)
    words = [_("Payment seen"), _("First confirmation"), _("Second confirmation")]
    return [(step, slowest >= number) for number, step in enumerate(words)][
        : blocks_needed(invoice) + 1
    ]


def status_of(invoice: Invoice) -> int:
    """How far the fastest of the payments is; the page reloads when it increases."""
    return max((depth(row) for row in invoice.known_transactions), default=NOTHING_SEEN)


def depth(row: Transaction) -> int:
    return CONFIRMED if row.is_final else min(row.confirmations, CONFIRMED)


def revision(invoice: Invoice, at: datetime) -> str:
    """Changes whenever the invoice page has something new to say."""
    attempt, settlement = invoice.attempt, invoice.displayed_settlement(at)
    payments = "".join(row.mark for row in invoice.transactions)
    asks_anew = settlement == Settlement.UNDERPAID and at >= invoice.expires_at
    doubts = (invoice.review > "") + 2 * invoice.waits_for_verification + 4 * invoice.lacks_stock
    open_questions = f"{int(asks_anew)}-{doubts}{_refund_mark(invoice)}"
    return f"{settlement}-{payments}-{attempt.outstanding}-{open_questions}"


def _refund_mark(invoice: Invoice) -> str:
    refund = invoice.attempt.refund
    if refund is None or not (invoice.paid_at or invoice.cancelled_at):
        return ""
    if refund.is_sent:
        return "-refunded" if refund.is_verified else f"-sent{refund.transaction_id}"
    return f"-requested{refund.changed_at:%H%M%S%f}"


class PayTemplates:
    """The parts of a page that differ from one way to pay to the next.

    {% include pay.how %} takes payments/pay/<family>/how.html, or the one in pay/default/.
    """

    def __init__(self, provider: Provider):
        self.family = provider.family

    def __getitem__(self, part: str) -> list[str]:
        return [f"payments/pay/{family}/{part}.html" for family in (self.family, "default")]
