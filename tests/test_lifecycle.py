"""Whole lives of purchases: whatever happens on the chain, and in whatever order, how often or how
seldom the callbacks come, the shop's books end in the chain's truth, and it delivers at most once.
"""

import re
from urllib.parse import urlsplit

import pytest
import responses
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from payments import providers
from payments.models import Delivery, Invoice, Line, Product
from sandbox import callbacks, chain
from sandbox import models as network

from .conftest import RATE, SERVICE

LIVES, STEPS = 40, 25
INVOICES = 2


def to_the_sandbox(request):
    """Carries the shop's HTTP to the sandbox, inside this process."""
    parts = urlsplit(request.url)
    answer = Client().generic(
        request.method,
        f"{parts.path}?{parts.query}",
        headers={"Authorization": request.headers["Authorization"]},
    )
    return answer.status_code, {}, answer.content


class Lives(RuleBasedStateMachine):
    payments = Bundle("payments")
    callbacks = Bundle("callbacks")

    def __init__(self):
        super().__init__()
        self.rollback = transaction.atomic()
        self.rollback.__enter__()
        self.paid_at = {}

    def teardown(self):
        try:
            self.come_to_rest()
        finally:
            transaction.set_rollback(True)
            self.rollback.__exit__(None, None, None)

    @initialize()
    def two_purchases(self):
        provider = providers.get("blockonomics")
        cache.set("blockonomics-price-USD", RATE, None)
        product = Product.objects.create(title="Mountain", slug="mountain", price=10)
        self.invoices = [
            Invoice.objects.create_for([Line(product)], provider) for _ in range(INVOICES)
        ]

    @rule(
        target=payments,
        which=st.integers(0, INVOICES - 1),
        share=st.sampled_from([1, 1, 2, 3]),
        extra=st.sampled_from([0, 0, 0, -1, 1]),
        rbf=st.integers(0, 2),
    )
    def pay(self, which, share, extra, rbf):
        invoice = self.invoices[which]
        outputs = [(invoice.reference, max(1, invoice.due // share + extra))]
        return chain.pay(outputs, rbf=rbf).txid

    @rule(target=payments, rbf=st.integers(0, 2))
    def pay_both_with_one_transaction(self, rbf):
        outputs = [(invoice.reference, invoice.due) for invoice in self.invoices]
        return chain.pay(outputs, rbf=rbf).txid

    @rule(target=payments, old=payments, value=st.none() | st.integers(1, 20_000))
    def replace(self, old, value):
        try:
            return chain.replace(old, value=value).txid
        except chain.ChainError:
            return multiple()

    @rule(payment=payments)
    def drop(self, payment):
        try:
            chain.drop(payment)
        except chain.ChainError:
            return

    @rule(blocks=st.integers(1, 2))
    def mine(self, blocks):
        chain.mine(blocks)

    @rule(target=callbacks, number=st.integers(0, 30))
    def a_callback_arrives(self, number):
        owed = list(network.Delivery.objects.order_by("pk"))
        if not owed:
            return multiple()
        return self.send(owed[number % len(owed)])

    @rule(url=callbacks)
    def the_same_callback_arrives_again(self, url):
        self.deliver(url)

    def send(self, delivery):
        url = callbacks.prepare(delivery).url
        self.deliver(url)
        return url

    def deliver(self, url):
        parts = urlsplit(url)
        assert Client().get(f"{parts.path}?{parts.query}").status_code == 200

    @invariant()
    def the_shop_knows_nothing_that_the_chain_does_not(self):
        for invoice in getattr(self, "invoices", []):
            for noted in invoice.transactions.all():
                real = network.Transaction.objects.get(txid=noted.txid)
                assert noted.amount == real.value_to(invoice.reference)
                assert noted.status <= real.status

    @invariant()
    def paid_only_if_the_chain_has_confirmed_enough_and_for_ever(self):
        for invoice in Invoice.objects.filter(pk__in=[i.pk for i in getattr(self, "invoices", [])]):
            if invoice.settlement == "paid":
                assert self.confirmed_on_chain(invoice) >= invoice.due
                assert self.paid_at.setdefault(invoice.pk, invoice.paid_at) == invoice.paid_at
            assert invoice.pk not in self.paid_at or invoice.settlement == "paid"

    @invariant()
    def delivered_exactly_when_paid(self):
        paid = set(Invoice.objects.paid().values_list("pk", flat=True))
        assert sorted(paid) == sorted(Delivery.objects.values_list("invoice", flat=True))

    def confirmed_on_chain(self, invoice):
        return network.received(invoice.reference, confirmed=True)

    def come_to_rest(self):
        """All is mined, and of every transaction at least the last callback arrives."""
        chain.mine(2)
        for delivery in network.Delivery.objects.filter(status=2).order_by("?"):
            self.send(delivery)
        for invoice in Invoice.objects.filter(pk__in=[i.pk for i in self.invoices]):
            assert invoice.books.confirmed == self.confirmed_on_chain(invoice)
            assert (invoice.settlement == "paid") == (invoice.books.confirmed >= invoice.due)
        self.delivered_exactly_when_paid()


@pytest.mark.django_db
def test_whatever_happens_the_books_end_in_the_chains_truth():
    provider = providers.get("blockonomics")
    account = network.Account.objects.create(api_key="demo-api-key")
    wallet = network.Wallet.objects.create(
        account=account, address=network.conf.xpub(), gap_limit=10_000
    )
    network.Store.objects.create(
        account=account, wallet=wallet, http_callback=provider.callback_url()
    )
    quick = hypothesis_settings(
        max_examples=LIVES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        for method in ("GET", "POST"):
            wire.add_callback(method, re.compile(f"{SERVICE}/.*"), to_the_sandbox)

        run_state_machine_as_test(Lives, settings=quick)
