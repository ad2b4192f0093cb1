"""The sentence that a page shows after a form: what happened, and to which transaction."""

from sandbox.models import Transaction

SAID = {
    "paid": "Payment sent. It waits in the mempool for the next block.",
    "mined": "A block was mined.",
    "replaced": "The transaction was replaced: the old one is gone, a new one pays the same payee.",
    "taken_back": "The transaction was replaced: the money goes back to the customer.",
    "dropped": "The transaction was dropped. Nobody hears from it again.",
    "saved": "Saved.",
    "reset": "All faults are off.",
}


def what_to_say(request):
    payment = Transaction.objects.with_txid(request.GET.get("txid", "")).first()
    return {"said": SAID.get(request.GET.get("said", ""), ""), "said_payment": payment}
