"""Whole lives of purchases: whatever happens on the chain, to the price and to the messages, no
satoshi is unaccounted for, paid is paid once, and in the end the books agree with the chain.

A few lives in the quick tests, 200 in the hard ones and 60 more on PostgreSQL, 2,000 longer ones
with SOAK=1.
"""

import json
import os
import re
from collections import Counter, defaultdict
from datetime import timedelta
from decimal import Decimal
from unittest import mock
from urllib.parse import urlsplit

import pytest
import responses
import time_machine
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.db import OperationalError, transaction
from django.test import Client, RequestFactory
from django.utils import timezone
from hypothesis import HealthCheck, Phase
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

from payments import checkout, ingestion, providers, views
from payments.models import Callback, Invoice, Line, Product, Transaction
from payments.presentation import depth
from payments.reconciliation import Reconciliation
from payments.worker import Worker
from sandbox import chain, conf
from sandbox import models as network
from sandbox.blockonomics import callbacks
from tests.conftest import SERVICE
from tests.resilience import soak

QUICK_LIVES, QUICK_STEPS = 10, 12
# In so many parts, which several workers share.
PARTS = 4
LIVES_AT_A_TIME = 50
LIVES, STEPS = 60 if os.environ.get("DATABASE_URL") else 200, 15
if soak.ASKED:
    LIVES, STEPS = 2_000, 40
INVOICES = 2
NO_DUST = 294  # satoshis: the least that nodes pass on to the addresses here
BEGINNING = Decimal(100_000)
GRACE = timedelta(seconds=60)

# One for all: each one loads all middleware anew.
client = Client()


def to_the_sandbox(request):
    """Carries the shop's HTTP to the sandbox, inside this process."""
    parts = urlsplit(request.url)
    answer = client.generic(
        request.method,
        f"{parts.path}?{parts.query}",
        request.body or b"",
        content_type="application/json",
        headers={"Authorization": request.headers["Authorization"]},
    )
    return answer.status_code, {}, answer.content


class Lives(RuleBasedStateMachine):
    payments = Bundle("payments")
    callbacks = Bundle("callbacks")
    lived = Counter()

    def __init__(self):
        super().__init__()
        self.lived["lives"] += 1
        self.rollback = transaction.atomic()
        self.rollback.__enter__()
        self.travel = time_machine.travel("2026-01-01T12:00:00Z", tick=False)
        self.clock = self.travel.start()
        self.provider = providers.get("blockonomics")
        self.prices = []  # (since, price)
        self.quotes = defaultdict(list)  # invoice: [(from, until, rate)]
        self.paid_at = {}
        self.deepest = {}  # txid: the best status that it ever had

    def teardown(self):
        try:
            self.come_to_rest()
        finally:
            self.travel.stop()
            transaction.set_rollback(True)
            self.rollback.__exit__(None, None, None)
            cache.clear()

    @initialize()
    def two_purchases(self):
        self.set_price(BEGINNING)
        cache.set("blockonomics-price-USD", BEGINNING, None)
        product = Product.objects.create(title="Mountain", slug="mountain", price=10)
        self.invoices = [
            checkout.place_order([Line(product)], self.provider) for _ in range(INVOICES)
        ]
        for invoice in self.invoices:
            self.remember_quote(invoice)

    # The world

    @rule(price=st.sampled_from([50_000, 99_999, 100_001, 200_000]))
    def the_price_moves(self, price):
        self.set_price(Decimal(price))

    @rule(minutes=st.sampled_from([1, 5, 16, 61]))
    def time_goes_by(self, minutes):
        self.wait(timedelta(minutes=minutes))

    @rule(fault=st.sampled_from(["none", "500", "garbage", "null"]))
    def the_price_can_or_cannot_be_had(self, fault):
        network.Settings.objects.filter(pk=1).update(faults={"price": fault})

    @rule(
        target=payments,
        which=st.integers(0, INVOICES - 1),
        share=st.sampled_from([1, 1, 2, 3]),
        extra=st.sampled_from([0, 0, 0, -1, 1]),
        rbf=st.integers(0, 2),
    )
    def pay(self, which, share, extra, rbf):
        invoice = self.fresh(which)
        outputs = [(invoice.attempt.reference, max(NO_DUST, invoice.attempt.due // share + extra))]
        return chain.pay(outputs, rbf=rbf).txid

    @rule(target=payments, rbf=st.integers(0, 2))
    def pay_both_with_one_transaction(self, rbf):
        outputs = [
            (invoice.attempt.reference, max(NO_DUST, invoice.attempt.due))
            for invoice in self.invoices
        ]
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

    @rule()
    def a_block_is_undone(self):
        try:
            chain.reorg(1)
        except chain.ChainError:
            return

    # The messages

    @rule(target=callbacks, number=st.integers(0, 30))
    def a_callback_arrives(self, number):
        owed = list(network.Delivery.objects.order_by("pk"))
        if not owed:
            return multiple()
        return self.send(owed[number % len(owed)])

    @rule(url=callbacks)
    def the_same_callback_arrives_again(self, url):
        self.deliver(url)

    @rule(target=callbacks, number=st.integers(0, 30))
    def a_callback_arrives_while_the_shop_is_in_trouble(self, number):
        """It is kept in the inbox, heard but not judged."""
        owed = list(network.Delivery.objects.order_by("pk"))
        if not owed:
            return multiple()
        with mock.patch.object(ingestion, "record_report", side_effect=OperationalError):
            return self.send(owed[number % len(owed)], answer=503)

    @rule(number=st.integers(0, 30))
    def the_merchant_has_one_of_the_inbox_processed_again(self, number):
        inbox = list(Callback.objects.order_by("outcome", "pk"))
        if not inbox:
            return
        self.process_again(inbox[number % len(inbox)])

    @rule(number=st.integers(0, 30), price=st.sampled_from([50_000, 200_000]))
    def a_callback_is_judged_only_after_the_next_quote(self, number, price):
        owed = list(network.Delivery.objects.order_by("pk"))
        if not owed:
            return
        with mock.patch.object(ingestion, "record_report", side_effect=OperationalError):
            self.send(owed[number % len(owed)], answer=503)
        self.set_price(Decimal(price))
        self.wait(timedelta(minutes=16))
        for which in range(INVOICES):
            self.ask_for_a_new_quote(which)
        self.process_again(Callback.objects.latest("pk"))

    @rule(which=st.integers(0, INVOICES - 1))
    def the_watcher_hears(self, which):
        invoice = self.invoices[which]
        alive = network.Transaction.objects.alive().paying(invoice.attempt.reference)
        if (payment := alive.first()) is None:
            return
        message = {
            "status": payment.status,
            "timestamp": 0,
            "value": payment.value_to(invoice.attempt.reference),
            "txid": payment.txid,
        }
        report = self.provider.parse_message(invoice.attempt.reference, json.dumps(message))
        ingestion.record_report(self.provider, report, by="watcher")

    @rule()
    def the_worker_works(self):
        self.wait(timedelta(seconds=6))  # what failed is tried again
        Worker().work_off()

    @rule()
    def the_history_is_compared(self):
        self.reconcile()

    @rule(which=st.integers(0, INVOICES - 1))
    def the_shopper_asks_for_a_new_quote(self, which):
        self.ask_for_a_new_quote(which)

    def ask_for_a_new_quote(self, which):
        self.wait(timedelta(seconds=1))  # nothing is heard in the instant of a new quote
        invoice = self.fresh(which)
        request = RequestFactory().post("/")
        request.user = AnonymousUser()
        views.quote(request, key=invoice.key)
        if self.fresh(which).attempt.quoted_at != invoice.attempt.quoted_at:
            self.remember_quote(self.fresh(which))
        self.wait(timedelta(seconds=1))

    # What holds after each step

    @invariant()
    def the_books_are_right(self):
        self.lived["steps"] += 1
        self.remember_how_deep_all_is()
        for invoice in self.fresh_ones():
            self.they_know_nothing_that_the_chain_did_not_have(invoice)
            self.every_transaction_has_the_rate_that_it_was_promised(invoice)
            self.paid_is_covered_by_what_was_confirmed_and_final(invoice)
            self.paid_is_delivered_told_and_written_down_once(invoice)
            self.the_settlement_is_what_the_facts_amount_to(invoice)

    def they_know_nothing_that_the_chain_did_not_have(self, invoice):
        rows = {row.transaction_id: row for row in invoice.transactions}
        if not rows:
            return
        for real in network.Transaction.objects.filter(txid__in=rows).prefetch_related("outputs"):
            row = rows.pop(real.txid)
            assert row.amount == real.value_to(invoice.attempt.reference)
            assert depth(row) <= self.deepest[real.txid]
        assert not rows

    def every_transaction_has_the_rate_that_it_was_promised(self, invoice):
        for row in Transaction.objects.of(invoice).all():
            promised = self.promised(invoice, row.first_seen)
            if row.late:
                assert promised is None
                assert row.rate is None or row.rate in self.prices_since(row.first_seen)
            else:
                assert row.rate == promised
            # However late a callback was judged, the promise of the day when it came is kept.
            for heard in invoice.callbacks.all():
                is_earlier = (
                    heard.received_at < row.first_seen and row.transaction_id in heard.query
                )
                if is_earlier and not invoice.paid_at:
                    assert (row.rate or 0) >= (self.promised(invoice, heard.received_at) or 0)

    def promised(self, invoice, moment):
        """The rate of the quote that stood at that moment; None if it was over."""
        begun = [(until, rate) for begin, until, rate in self.quotes[invoice.pk] if begin <= moment]
        until, rate = begun[-1]
        return rate if moment < until else None

    def paid_is_covered_by_what_was_confirmed_and_final(self, invoice):
        if invoice.settlement == "paid":
            enough = invoice.policy.enough_confirmations(invoice.total)
            worth = sum(
                row.value
                for row in Transaction.objects.of(invoice).all()
                if row.is_final or row.confirmations >= enough
            )
            assert worth >= invoice.total
            assert self.paid_at.setdefault(invoice.pk, invoice.paid_at) == invoice.paid_at
        assert invoice.pk not in self.paid_at or invoice.settlement == "paid"

    def paid_is_delivered_told_and_written_down_once(self, invoice):
        paid = [True] if invoice.settlement == "paid" else []
        told = [line.kind in ("paid", "paid-late") for line in invoice.timeline.all()]
        assert [hasattr(invoice, "delivery")] == (paid or [False])
        assert [True for mail in invoice.mails.all() if mail.kind == "sold"] == paid
        assert list(filter(None, told)) == paid

    def the_settlement_is_what_the_facts_amount_to(self, invoice):
        concluded = invoice.settlement_at(timezone.now())
        assert invoice.settlement == ("waiting" if concluded == "expired" else concluded)

    # The end

    def come_to_rest(self):
        """All trouble is over, all is mined, and the history is compared twice, an hour apart."""
        network.Settings.objects.filter(pk=1).update(faults={})
        chain.mine(2)
        paid_already = set(self.paid_at)
        self.look_for_what_is_gone()
        for invoice in self.fresh_ones():
            if invoice.pk not in paid_already:
                covered = invoice.balance.confirmed >= invoice.total
                assert (invoice.settlement == "paid") == covered
        # Of what is paid, the history matters no more; its callbacks arrive all the same.
        for delivery in network.Delivery.objects.filter(status=2):
            self.send(delivery)
        for invoice in self.fresh_ones():
            rows = {
                row.transaction_id: row
                for row in Transaction.objects.of(invoice).all()
                if not row.dropped_at
            }
            alive = network.Transaction.objects.alive().paying(invoice.attempt.reference)
            for payment in alive:
                row = rows[payment.txid]
                assert row.is_final
                assert row.amount == payment.value_to(invoice.attempt.reference)
                assert row.rate is not None
            if invoice.pk not in paid_already:
                assert rows.keys() == {payment.txid for payment in alive}
                # A late callback may have told enough of what is undone: paid stays paid.
                covered = invoice.balance.confirmed >= invoice.total
                assert invoice.settlement == "paid" or not covered
            self.paid_is_delivered_told_and_written_down_once(invoice)

    def look_for_what_is_gone(self):
        """A payment counts as gone when the history lacks it twice, an hour apart."""
        for _ in range(2):
            self.wait(timedelta(minutes=61))
            self.reconcile()

    # How it is done

    def remember_how_deep_all_is(self):
        """For all that is on the chain: a late callback may tell what was before a block's end."""
        for real in network.Transaction.objects.all():
            self.deepest[real.txid] = max(self.deepest.get(real.txid, 0), real.status)

    def fresh(self, which):
        return self.fresh_ones()[which]

    def fresh_ones(self):
        pks = [invoice.pk for invoice in getattr(self, "invoices", [])]
        rows = Invoice.objects.filter(pk__in=pks).select_related("delivery").order_by("pk")
        return rows.with_payments().prefetch_related("timeline", "mails", "callbacks")

    def wait(self, span):
        self.clock.shift(span)
        cache.delete("blockonomics-price-USD")

    def set_price(self, price):
        network.Settings.objects.current()
        network.Settings.objects.filter(pk=1).update(price=price)
        self.prices.append((timezone.now(), price))
        cache.delete("blockonomics-price-USD")

    def prices_since(self, moment):
        """Every price that there was from that moment on."""
        since = [price for begin, price in self.prices if begin >= moment]
        before = [price for begin, price in self.prices if begin < moment]
        return {*since, *before[-1:]}

    def remember_quote(self, invoice):
        until = invoice.expires_at + GRACE
        self.quotes[invoice.pk].append((invoice.attempt.quoted_at, until, invoice.attempt.rate))

    def reconcile(self):
        self.wait(timedelta(seconds=1))
        Reconciliation(complain=print).pass_through()

    def process_again(self, callback):
        was_judged = callback.outcome != "failed"
        ingestion.process_again(callback, self.provider, by="merchant")
        is_old = (
            callback.received_at < Invoice.objects.get(pk=callback.invoice_id).attempt.quoted_at
        )
        self.lived["judged after the next quote"] += is_old and not was_judged

    def send(self, delivery, answer=200):
        url = callbacks.prepare(delivery).url
        self.deliver(url, answer)
        return url

    def deliver(self, url, answer=200):
        request = RequestFactory().get(url.removeprefix("http://127.0.0.1:8000"))
        assert views.callback(request, "blockonomics").status_code == answer


@pytest.mark.django_db
def test_whatever_happens_the_books_end_in_the_chains_truth(settings, caplog):
    live(QUICK_LIVES, QUICK_STEPS, settings, caplog)


@pytest.mark.hard
@pytest.mark.timeout(soak.TIMEOUT)
@pytest.mark.django_db
@pytest.mark.parametrize("part", range(PARTS))
def test_in_many_lives_the_books_end_in_the_chains_truth(part, settings, caplog):
    live(LIVES // PARTS, STEPS, settings, caplog)


def live(lives, steps, settings, caplog):
    caplog.set_level("CRITICAL", "django.request")  # the trouble is made here
    caplog.set_level("CRITICAL", "payments")
    settings.BLOCKONOMICS_SEARCH_SECONDS = 0
    provider = providers.get("blockonomics")
    account = network.Account.objects.create(api_key="demo-api-key")
    wallet = network.Wallet.objects.create(account=account, address=conf.xpub(), gap_limit=10_000)
    network.Store.objects.create(
        account=account, wallet=wallet, http_callback=provider.callback_url()
    )
    at_a_time = min(lives, LIVES_AT_A_TIME)
    some_lives = hypothesis_settings(
        max_examples=at_a_time,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # A failing life is shown as it was lived; making it shorter takes many minutes.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        for method in ("GET", "POST"):
            wire.add_callback(method, re.compile(f"{SERVICE}/.*"), to_the_sandbox)

        Lives.lived.clear()
        for _ in soak.rounds(lives // at_a_time):
            run_state_machine_as_test(Lives, settings=some_lives)
    print(dict(Lives.lived))
