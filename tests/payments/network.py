"""The sandbox in place of Blockonomics, within this process."""

import json
from urllib.parse import urlsplit

from django.test import Client

from sandbox import chain
from sandbox.models import Settings


class Network:
    """Blockonomics: the sandbox with its callbacks off, and a list of the searches.

    `before_answer` is called with (call, addresses) before each answer; it may wait or raise.
    """

    def __init__(self):
        self.searches = []
        self.before_answer = lambda call, addresses: None

    def answer(self, method, path, body=b"", headers=None):
        call = urlsplit(path).path.rpartition("/")[2]
        if call in ("balance", "searchhistory"):
            addresses = json.loads(body)["addr"].split()
            self.searches.append((call, addresses))
            self.before_answer(call, addresses)
        answer = Client().generic(
            method, path, body, content_type="application/json", headers=headers
        )
        return answer.status_code, {}, answer.content

    def asked(self, call):
        """The addresses of each such question."""
        return [addresses for asked, addresses in self.searches if asked == call]

    def looked_up(self):
        return [addresses[0] for addresses in self.asked("searchhistory")]

    def pay(self, *invoices, value=None, **more):
        outputs = [
            (invoice.attempt.reference, value or invoice.attempt.due) for invoice in invoices
        ]
        return chain.pay(outputs, **more).txid

    def confirm(self):
        chain.mine(2)

    def set(self, **values):
        Settings.objects.current()
        Settings.objects.filter(pk=1).update(**values)


def detail(*outputs, status="Confirmed") -> dict:
    """What tx_detail tells of a transaction with these (address, value) outputs."""
    return {
        "status": status,
        "vout": [{"address": where, "value": value} for where, value in outputs],
        "vin": [],
        "fee": 100,
        "time": 1_700_000_000,
        "size": 200,
    }
