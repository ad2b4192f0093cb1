"""manage.py reconcile: what callbacks did not tell is found in the network's history."""

import contextlib
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import time_machine
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from benchmarks import shop
from payments import checkout, ingestion, reconciliation
from payments.management.commands import reconcile
from payments.models import Delivery, Invoice, Lease, Line, Mail, PaymentAttempt, Transaction
from payments.presentation import status_of
from payments.providers.base import ProviderUnavailable
from payments.reconciliation import Reconciliation
from sandbox import chain
from tests.conftest import RATE, SERVICE, address, report, txid
from tests.live import PATIENCE_SECONDS, running, wait_until

from .network import Network

pytestmark = pytest.mark.hard

FAULTS = ["timeout", "500", "503", "429", "403", "401", "garbage", "empty"]


@pytest.fixture
def server(transactional_db, settings):
    """For other processes, by HTTP; `url` is where."""
    network = Network()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                headers = {"Authorization": self.headers["Authorization"]}
                status, _, content = network.answer(self.command, self.path, body, headers)
            finally:
                connection.close()
            with contextlib.suppress(OSError):  # who asked may be dead by now
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *given):
            pass

    network.set(callbacks="off")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        network.url = f"http://127.0.0.1:{http.server_port}/sandbox"
        settings.BLOCKONOMICS_URL = network.url
        settings.BLOCKONOMICS_SEARCH_SECONDS = 0
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield network
        http.shutdown()
        thread.join()


@pytest.fixture
def open_invoices(db):
    """A function that makes invoices over 10 USD, 10,000 satoshis."""

    def make(count=1, **fields):
        over = {"expires_at": timezone.now() + timedelta(minutes=15), **fields}
        return shop.open_invoices(count, first=Invoice.objects.count(), **over)

    return make


@pytest.fixture
def one(open_invoices):
    return open_invoices()[0]


def compare_all():
    call_command("reconcile")


def later(clock, **span):
    clock.shift(timedelta(**span))
    cache.set("blockonomics-price-USD", RATE, None)


def fresh(invoice):
    return Invoice.objects.get(pk=invoice.pk)


def attempts_of(invoice):
    return PaymentAttempt.objects.filter(invoice=invoice)


def mails(invoice):
    return sorted((mail.kind, mail.to) for mail in Mail.objects.filter(invoice=invoice))


def told(invoice):
    return [(event.kind, event.by) for event in invoice.timeline.all()]


@pytest.fixture
def clock():
    with time_machine.travel(timezone.now(), tick=False) as clock:
        yield clock


# Lost callbacks


def test_one_pass_finds_a_payment_of_which_no_callback_told(network, one):
    payment = network.pay(one)
    network.confirm()

    compare_all()

    assert fresh(one).settlement == "paid"
    assert Transaction.objects.of(one).get().transaction_id == payment
    assert Transaction.objects.of(one).get().verified_confirmations == 2
    assert ("paid", "reconcile") in told(one)
    assert Delivery.objects.count() == 1


@pytest.mark.parametrize(("blocks", "status"), [(0, 0), (1, 1)])
def test_one_pass_finds_a_payment_on_its_way(network, one, blocks, status):
    network.pay(one)
    chain.mine(blocks)

    compare_all()

    assert fresh(one).settlement == "confirming"
    assert status_of(fresh(one)) == status


def test_a_lost_confirmation_is_found(network, one):
    network.pay(one)
    compare_all()
    network.confirm()

    compare_all()

    assert fresh(one).settlement == "paid"
    assert Delivery.objects.count() == 1


def test_one_transaction_pays_two_invoices(network, open_invoices):
    invoices = open_invoices(2)
    payment = network.pay(*invoices)
    network.confirm()

    compare_all()

    assert Invoice.objects.paid().count() == 2
    assert Transaction.objects.filter(transaction_id=payment).count() == 2


def test_several_payments_add_up(network, one):
    network.pay(one, value=4_000)
    network.pay(one, value=6_000)
    network.confirm()

    compare_all()

    assert fresh(one).settlement == "paid"
    assert Transaction.objects.of(one).count() == 2


def test_a_second_pass_changes_nothing(network, one):
    network.pay(one)
    network.confirm()
    compare_all()
    before = fresh(one).updated_at, told(one), mails(one)

    compare_all()

    assert (fresh(one).updated_at, told(one), mails(one)) == before


# How much it asks


def test_what_agrees_costs_one_question_for_a_hundred_invoices(network, open_invoices):
    open_invoices(100)

    compare_all()

    assert [len(addresses) for addresses in network.asked("balance")] == [100]
    assert network.looked_up() == []


def test_only_addresses_that_moved_are_looked_up(network, open_invoices):
    invoices = open_invoices(250)
    moved = [invoices[number] for number in (3, 120, 249)]
    for invoice in moved:
        network.pay(invoice)
    network.confirm()

    compare_all()

    assert [len(addresses) for addresses in network.asked("balance")] == [100, 100, 50]
    assert network.looked_up() == [invoice.attempt.reference for invoice in moved]
    assert set(Invoice.objects.paid()) == set(moved)


def test_without_invoices_nothing_is_asked(network):
    compare_all()

    assert network.searches == []


def test_what_is_final_and_agrees_is_not_looked_up_again(network, one):
    network.pay(one, value=4_000)
    network.confirm()
    compare_all()
    network.searches.clear()

    compare_all()

    assert fresh(one).settlement == "underpaid"
    assert [call for call, _ in network.searches] == ["balance"]


def test_what_was_heard_during_the_wait_is_not_looked_up(network, provider, open_invoices):
    invoices = open_invoices(2)
    for invoice in invoices:
        network.pay(invoice)
    network.confirm()

    def hear_of_the_second(call, addresses):
        if call == "searchhistory" and addresses == [invoices[0].attempt.reference]:
            ingestion.record_report(provider, report(invoices[1], 1, 10_000, 2), by="watcher")

    network.before_answer = hear_of_the_second

    compare_all()

    assert network.looked_up() == [invoices[0].attempt.reference]


def test_an_address_of_the_test_mode_spoils_no_question(network, open_invoices):
    invented, real = open_invoices(2)
    attempts_of(invented).update(reference="1TestBTCAddressaaaaaaaaaaaaaaaaaaa")
    network.pay(real)
    network.confirm()

    compare_all()

    assert fresh(real).settlement == "paid"
    assert network.asked("balance") == [[real.attempt.reference]]


# Which, and in which order


def test_the_oldest_need_comes_first(network, open_invoices):
    now = timezone.now()
    yesterday, never, today = open_invoices(3)
    for invoice, checked_at in {yesterday: now - timedelta(days=1), today: now}.items():
        attempts_of(invoice).update(checked_at=checked_at)
    for invoice in (today, yesterday, never):
        network.pay(invoice)

    compare_all()

    in_order = [invoice.attempt.reference for invoice in (never, yesterday, today)]
    assert network.asked("balance") == [in_order]
    assert network.looked_up() == in_order


def test_a_young_invoice_is_asked_about_whether_its_quote_stands_or_not(
    network, open_invoices, settings
):
    open_invoices(1)
    open_invoices(1, expires_at=timezone.now() - timedelta(hours=1))

    compare_all()

    assert len(network.asked("balance")[0]) == 2


def test_an_old_unpaid_invoice_is_left_in_peace(network, one, settings):
    age = timedelta(days=settings.RECONCILE_DAYS, minutes=1)
    attempts_of(one).update(quoted_at=timezone.now() - age)

    compare_all()

    assert network.searches == []


def test_an_old_invoice_whose_payment_is_on_its_way_is_not(network, one, settings):
    network.pay(one)
    compare_all()
    age = timedelta(days=settings.RECONCILE_DAYS, minutes=1)
    attempts_of(one).update(quoted_at=timezone.now() - age)
    network.confirm()

    compare_all()

    assert fresh(one).settlement == "paid"


def test_another_providers_invoices_are_none_of_its_business(network, open_invoices):
    open_invoices(1, provider="another")

    compare_all()

    assert network.searches == []


def test_the_paid_come_after_all_who_wait(network, open_invoices):
    paid, waiting = open_invoices(2)
    Invoice.objects.filter(pk=paid.pk).update(settlement="paid", paid_at=timezone.now())

    compare_all()

    assert network.asked("balance") == [[waiting.attempt.reference, paid.attempt.reference]]


def test_a_paid_invoice_is_asked_about_until_its_payments_are_final(network, one, clock, settings):
    settings.CONFIRMATION_POLICY = "0-: 1"
    network.pay(one)
    chain.mine(1)
    compare_all()
    assert fresh(one).settlement == "paid"
    later(clock, days=settings.RECONCILE_DAYS + 1)
    compare_all()
    assert Transaction.objects.of(one).get().confirmations == 1
    chain.mine(1)
    later(clock, minutes=1)
    compare_all()
    assert Transaction.objects.of(one).get().confirmations == 2
    network.searches.clear()

    later(clock, minutes=1)
    compare_all()

    assert network.searches == []


def test_what_was_paid_lately_is_watched_for_a_day(network, one, clock):
    network.pay(one)
    network.confirm()
    compare_all()
    network.searches.clear()

    asked = []
    for _ in range(26):
        later(clock, hours=1, minutes=1)
        compare_all()
        asked.append(len(network.searches))

    assert asked[0] == 1
    assert asked[-1] == asked[-2] == 23
    assert network.looked_up() == []


# Money of unknown worth


def test_money_of_unknown_worth_is_valued(network, one, clock):
    network.pay(one)
    network.confirm()
    clock.shift(timedelta(hours=1))
    cache.clear()
    network.set(faults={"price": "500"})
    compare_all()
    assert Transaction.objects.of(one).get().rate is None
    assert fresh(one).settlement == "underpaid"
    network.set(faults={}, price=200_000)
    clock.shift(timedelta(hours=1))

    compare_all()

    assert Transaction.objects.of(one).get().rate == 200_000
    assert Transaction.objects.of(one).get().late
    assert fresh(one).settlement == "paid"


def test_money_of_unknown_worth_is_valued_however_old_or_paid_the_invoice_is(
    network, one, clock, settings
):
    network.pay(one)
    network.confirm()
    compare_all()
    clock.shift(timedelta(days=settings.RECONCILE_DAYS, hours=1))
    tip = network.pay(one, value=1_000)
    network.confirm()
    Transaction.objects.create(
        attempt=one.attempt,
        transaction_id=tip,
        amount=1_000,
        confirmations=2,
        is_final=True,
        first_seen=timezone.now(),
        last_seen=timezone.now(),
    )

    compare_all()

    assert Transaction.objects.of(one).get(transaction_id=tip).rate is not None
    assert fresh(one).settlement == "paid"


# Forgotten by the network


@pytest.fixture
def gone(network, one, clock, settings):
    """An invoice whose payment was seen, and then taken back."""
    settings.MERCHANT_EMAIL = "merchant@example.com"
    Invoice.objects.filter(pk=one.pk).update(email="shopper@example.com")
    one.payment = network.pay(one)
    compare_all()
    chain.drop(one.payment)
    later(clock, minutes=1)
    return one


def test_what_is_missing_once_is_not_dropped(gone):
    compare_all()

    assert Transaction.objects.of(gone).get().missing_since == timezone.now()
    assert Transaction.objects.of(gone).get().dropped_at is None
    assert fresh(gone).settlement == "confirming"
    assert mails(gone) == []


def test_what_is_missing_twice_within_the_hour_is_not_dropped(gone, clock):
    compare_all()
    later(clock, minutes=59)

    compare_all()

    assert Transaction.objects.of(gone).get().dropped_at is None
    assert fresh(gone).settlement == "confirming"


def test_what_is_missing_twice_an_hour_apart_is_dropped_and_all_are_told(gone, clock, client):
    compare_all()
    later(clock, hours=1)

    compare_all()

    assert Transaction.objects.of(gone).get().dropped_at == timezone.now()
    assert fresh(gone).settlement == "waiting"
    assert status_of(fresh(gone)) == -1
    assert told(gone)[-2:] == [("dropped", "reconcile"), ("uncovered", "reconcile")]
    assert mails(gone) == [("alarm", "merchant@example.com"), ("uncovered", "shopper@example.com")]
    page = client.get(gone.get_absolute_url()).content.decode()
    assert "Gone from the network" in page


def test_the_setting_says_how_long_it_has_to_be_missing(gone, clock, settings):
    settings.DROP_AFTER = timedelta(minutes=5)
    compare_all()
    later(clock, minutes=5)

    compare_all()

    assert Transaction.objects.of(gone).get().dropped_at


def test_without_an_email_address_only_the_merchant_is_told(gone, clock):
    Invoice.objects.filter(pk=gone.pk).update(email="")
    compare_all()
    later(clock, hours=1)

    compare_all()

    assert mails(gone) == [("alarm", "merchant@example.com")]


def test_a_partial_payment_that_is_gone_is_told_as_well(network, one, clock, settings):
    settings.MERCHANT_EMAIL = "merchant@example.com"
    Invoice.objects.filter(pk=one.pk).update(email="shopper@example.com")
    payment = network.pay(one, value=4_000)
    compare_all()
    assert fresh(one).settlement == "underpaid"
    chain.drop(payment)
    later(clock, minutes=1)
    compare_all()
    later(clock, hours=1)

    compare_all()

    assert fresh(one).settlement == "waiting"
    assert [kind for kind, _ in mails(one)] == ["alarm", "needs", "uncovered"]


def test_dropped_is_dropped_once(gone, clock):
    compare_all()
    later(clock, hours=1)
    compare_all()
    dropped_at = Transaction.objects.of(gone).get().dropped_at
    before = told(gone)
    later(clock, hours=2)

    compare_all()

    assert Transaction.objects.of(gone).get().dropped_at == dropped_at
    assert told(gone) == before


def test_seen_again_after_one_miss_the_count_begins_anew(network, one, clock):
    payment = network.pay(one)
    compare_all()
    hide(payment)
    later(clock, minutes=1)
    compare_all()
    assert Transaction.objects.of(one).get().missing_since
    show(payment)
    later(clock, minutes=30)
    compare_all()
    assert Transaction.objects.of(one).get().missing_since is None
    hide(payment)
    later(clock, hours=1)

    compare_all()

    assert Transaction.objects.of(one).get().dropped_at is None


def test_a_confirmed_part_that_was_missing_once_is_asked_for_again(network, one, clock):
    payment = network.pay(one, value=4_000)
    network.confirm()
    compare_all()
    hide(payment)
    later(clock, minutes=1)
    compare_all()
    show(payment)
    later(clock, minutes=1)

    compare_all()

    assert Transaction.objects.of(one).get().missing_since is None


def test_what_was_dropped_counts_again_when_it_is_seen_again(gone, clock, client):
    compare_all()
    later(clock, hours=1)
    compare_all()
    show(gone.payment)
    later(clock, minutes=1)

    compare_all()

    assert Transaction.objects.of(gone).get().dropped_at is None
    assert fresh(gone).settlement == "confirming"
    assert ("returned", "reconcile") in told(gone)
    assert "Gone from the network" not in client.get(gone.get_absolute_url()).content.decode()


def test_what_comes_back_begins_anew_however_deep_it_was(network, one, clock):
    part = network.pay(one, value=4_000)
    network.confirm()
    compare_all()
    chain.reorg(2)
    hide(part)
    for _ in range(2):
        later(clock, hours=1)
        compare_all()
    assert Transaction.objects.of(one).get().dropped_at
    show(part)

    later(clock, minutes=1)
    compare_all()

    assert Transaction.objects.of(one).get().confirmations == 0
    assert Transaction.objects.of(one).get().verified_confirmations == 0
    assert fresh(one).attempt.tally.confirmed == 0


def test_what_the_history_could_not_have_yet_is_not_missing(network, provider, one):
    network.pay(one, value=4_000)

    def hear_of_another(call, addresses):
        if call == "searchhistory":
            # Its first callback overtakes the answer.
            ingestion.record_report(provider, report(one, 1, 6_000, 0))

    network.before_answer = hear_of_another

    compare_all()

    assert Transaction.objects.of(one).count() == 2
    assert not Transaction.objects.of(one).exclude(missing_since=None).exists()


def test_a_replaced_transaction_gives_way_to_the_new_one(network, one, clock, settings):
    settings.MERCHANT_EMAIL = "merchant@example.com"
    old = network.pay(one, rbf=1)
    compare_all()
    new = chain.replace(old).txid
    network.confirm()
    for _ in range(2):
        later(clock, hours=1)
        compare_all()

    invoice = fresh(one)

    assert invoice.settlement == "paid"
    assert Transaction.objects.of(invoice).get(transaction_id=old).dropped_at
    assert invoice.attempt.tally.received == invoice.attempt.tally.confirmed == 10_000
    assert Transaction.objects.of(invoice).get(transaction_id=new).confirmations == 2
    # The rest pays for it all, so nobody has to look at it.
    assert invoice.review == ""
    assert mails(one) == [("sold", "merchant@example.com")]


def test_a_double_spend_to_oneself_ends_in_nothing_paid(network, one, clock):
    old = network.pay(one, rbf=1)
    compare_all()
    chain.replace(old, address=address(9_999))
    network.confirm()
    for _ in range(2):
        later(clock, hours=1)
        compare_all()

    assert fresh(one).settlement == "waiting"
    assert fresh(one).attempt.tally.received == 0


def test_a_block_that_is_undone_and_found_again_changes_nothing(network, one, clock):
    network.pay(one)
    chain.mine(1)
    compare_all()
    chain.reorg(1)
    later(clock, minutes=1)
    compare_all()
    assert fresh(one).settlement == "confirming"
    network.confirm()
    later(clock, minutes=1)

    compare_all()

    assert fresh(one).settlement == "paid"
    assert Delivery.objects.count() == 1


def hide(payment):
    """The network does not know it for the time being."""
    network_row(payment).update(fate="dropped")


def show(payment):
    network_row(payment).update(fate="alive")


def network_row(payment):
    from sandbox.models import Transaction as OnChain

    return OnChain.objects.filter(txid=payment)


# After paid


@pytest.mark.parametrize("policy", ["0-: 1", "0-: 2"])
def test_what_vanishes_after_paid_never_unpays_but_alarms(network, one, clock, settings, policy):
    settings.CONFIRMATION_POLICY = policy
    settings.MERCHANT_EMAIL = "merchant@example.com"
    payment = network.pay(one)
    blocks = int(policy[-1])
    chain.mine(blocks)
    compare_all()
    paid_at = fresh(one).paid_at
    assert paid_at
    chain.reorg(blocks)
    chain.drop(payment)
    for _ in range(3):
        later(clock, hours=1, minutes=1)
        compare_all()

    invoice = fresh(one)

    assert Transaction.objects.of(invoice).get().dropped_at
    assert (invoice.settlement, invoice.paid_at) == ("paid", paid_at)
    assert "vanished from the network after the invoice was paid" in invoice.review
    assert {kind for kind, _ in told(one)} >= {"dropped", "review"}
    assert ("vanished", "merchant@example.com") in mails(one)
    assert Delivery.objects.count() == 1


# Trouble at the provider


@pytest.mark.parametrize("call", ["balance", "searchhistory"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_providers_trouble_leaves_the_books_alone_and_the_next_round_goes_on(
    network, open_invoices, clock, call, fault
):
    known, unknown = open_invoices(2)
    network.pay(known, value=4_000)
    network.confirm()
    compare_all()
    network.pay(known, value=6_000)
    network.pay(unknown)
    network.set(faults={call: fault})
    before = list(Transaction.objects.values())
    later(clock, hours=2)

    compare_all()

    assert list(Transaction.objects.values()) == before
    assert not Invoice.objects.exclude(settlement__in=["waiting", "underpaid"]).exists()
    network.set(faults={})
    later(clock, hours=2)
    compare_all()
    assert {fresh(known).settlement, fresh(unknown).settlement} == {"confirming"}


@pytest.mark.parametrize("error", [requests.ConnectTimeout, requests.ReadTimeout])
def test_a_provider_that_does_not_answer_at_all_is_asked_again(network, one, error, capsys):
    network.pay(one)

    def fail(call, addresses):
        raise error

    network.before_answer = fail
    compare_all()
    assert fresh(one).settlement == "waiting"
    assert "did not answer" in capsys.readouterr().err
    network.before_answer = lambda call, addresses: None

    compare_all()

    assert fresh(one).settlement == "confirming"


@pytest.mark.parametrize(
    "row",
    [
        {"txid": "{txid}", "value": "many", "status": 0},
        {"txid": "{txid}", "value": 1.5, "status": 0},
        {"txid": "{txid}", "value": True, "status": 0},
        {"txid": "no hash", "value": 10_000, "status": 0},
        {"value": 10_000, "status": 0},
        "a text",
    ],
)
def test_a_history_that_makes_no_sense_is_no_proof_that_something_is_gone(
    service, provider, one, row, settings
):
    settings.BLOCKONOMICS_SEARCH_SECONDS = 0
    ingestion.record_report(provider, report(one, 1, 10_000, 0))
    held = {"response": [{"addr": one.attempt.reference, "confirmed": 0, "unconfirmed": 10_000}]}
    service.add("POST", f"{SERVICE}/api/balance", json=held)
    service.add("POST", f"{SERVICE}/api/searchhistory", json={"pending": [row], "history": []})

    compare_all()

    assert Transaction.objects.of(one).get().missing_since is None


@pytest.mark.parametrize(
    "balance",
    ["[1]", '[{"addr": "ADDR", "confirmed": "much"}]', '[{"addr": "ADDR", "confirmed": 1e999999}]']
    + ['[{"addr": "ADDR", "confirmed": [1]}]', '[{"addr": "ADDR", "confirmed": 1.5}]', '"none"'],
)
def test_balances_that_make_no_sense_are_an_error_and_nothing_else(
    service, provider, one, settings, balance
):
    settings.BLOCKONOMICS_SEARCH_SECONDS = 0
    body = f'{{"response": {balance.replace("ADDR", one.attempt.reference)}}}'
    service.add("POST", f"{SERVICE}/api/balance", body=body)

    with pytest.raises(ProviderUnavailable):
        provider.balances([one.attempt.reference])
    compare_all()

    assert fresh(one).attempt.checked_at is None


@pytest.mark.parametrize(
    "answer",
    [
        '{"status": "Confirmed"}',
        '{"status": "Confirmed", "vout": "none"}',
        '{"status": "Confirmed", "vout": [1]}',
        '{"status": "Confirmed", "vout": [{"address": "ADDR"}]}',
        '{"status": "Confirmed", "vout": [{"address": "ADDR", "value": 1.5}]}',
        '{"status": "Confirmed", "vout": [{"address": "ADDR", "value": 1e999999}]}',
        '{"status": "Somehow", "vout": [{"address": "ADDR", "value": 10000}]}',
        "<!doctype html>",
    ],
)
def test_a_transaction_that_makes_no_sense_is_not_an_unknown_one(service, provider, one, answer):
    body = answer.replace("ADDR", one.attempt.reference)
    service.add("GET", f"{SERVICE}/api/tx_detail", body=body)

    with pytest.raises(ProviderUnavailable):
        provider.find_transaction(one.attempt.reference, txid(1))


def test_a_transaction_that_pays_somebody_else_is_an_unknown_one(service, provider, one):
    outputs = [{"address": address(9_999), "value": 10_000}]
    service.add("GET", f"{SERVICE}/api/tx_detail", json={"status": "Confirmed", "vout": outputs})

    assert provider.find_transaction(one.attempt.reference, txid(1)) is None


def test_coins_that_left_the_address_make_no_payment_vanish(service, provider, one, settings):
    settings.BLOCKONOMICS_SEARCH_SECONDS = 0
    ingestion.record_report(provider, report(one, 1, 4_000, 2))
    held = {"response": [{"addr": one.attempt.reference, "confirmed": 0, "unconfirmed": 0}]}
    came = {"txid": txid(1), "value": 4_000, "time": 1, "addr": [one.attempt.reference]}
    went = {"txid": txid(2), "value": -4_000, "time": 2, "addr": [one.attempt.reference]}
    service.add("POST", f"{SERVICE}/api/balance", json=held)
    service.add(
        "POST", f"{SERVICE}/api/searchhistory", json={"pending": [], "history": [went, came]}
    )

    compare_all()

    payment = Transaction.objects.of(one).get()
    assert (payment.transaction_id, payment.amount, payment.missing_since) == (txid(1), 4_000, None)


def test_an_address_that_always_fails_holds_up_no_other(network, open_invoices):
    invoices = open_invoices(4)
    for invoice in invoices:
        network.pay(invoice)

    def fail_for_the_first(call, addresses):
        if call == "searchhistory" and addresses == [invoices[0].attempt.reference]:
            raise requests.ReadTimeout

    network.before_answer = fail_for_the_first

    compare_all()

    settlements = [fresh(invoice).settlement for invoice in invoices]
    assert settlements == ["waiting", "confirming", "confirming", "confirming"]


def test_a_round_that_only_fails_ends_soon_and_the_next_begins_elsewhere(network, open_invoices):
    invoices = open_invoices(10)
    for invoice in invoices:
        network.pay(invoice)
    network.set(faults={"searchhistory": "429"})
    compare_all()
    assert len(network.looked_up()) == reconciliation.FAILURES_IN_A_ROW
    network.set(faults={})
    network.searches.clear()

    compare_all()

    first = network.looked_up()[:7]
    assert first == [invoice.attempt.reference for invoice in invoices[3:]]
    assert Invoice.objects.filter(settlement="confirming").count() == 10


# The limit of two a minute


def test_between_two_searches_there_is_always_the_whole_pause(
    network, open_invoices, clock, settings, monkeypatch
):
    settings.BLOCKONOMICS_SEARCH_SECONDS = 30
    for invoice in open_invoices(101)[:3]:
        network.pay(invoice)
    moments = []

    def take_three_seconds(call, addresses):
        moments.append(timezone.now())
        clock.shift(timedelta(seconds=3))
        moments.append(timezone.now())

    network.before_answer = take_three_seconds
    monkeypatch.setattr(
        Reconciliation, "_rest", lambda self, seconds: clock.shift(timedelta(seconds=4 * seconds))
    )

    compare_all()
    compare_all()

    answered, asked = moments[1:-1:2], moments[2::2]
    pauses = [later - sooner for sooner, later in zip(answered, asked, strict=True)]
    assert len(pauses) == 5 + 5 - 1
    assert min(pauses) >= timedelta(seconds=30)
    assert max(pauses) <= timedelta(seconds=32)


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_gets_the_turn():
    pause = timedelta(minutes=1)

    def take(_):
        try:
            return Lease.objects.acquire("a-turn", pause)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        turns = [turn for turn in threads.map(take, range(40)) if turn]

    assert len(turns) == 1


@pytest.mark.django_db
def test_a_turn_comes_when_the_pause_is_over_and_not_before(clock):
    pause = timedelta(seconds=30)
    assert Lease.objects.acquire("a-turn", pause)
    clock.shift(timedelta(seconds=29.999))
    assert not Lease.objects.acquire("a-turn", pause)
    clock.shift(timedelta(seconds=0.001))

    assert Lease.objects.acquire("a-turn", pause)


@pytest.mark.django_db
def test_who_was_taken_for_dead_has_no_turn_any_more(clock):
    pause = timedelta(seconds=30)
    first = Lease.objects.acquire("a-turn", pause)
    clock.shift(pause)
    second = Lease.objects.acquire("a-turn", pause)

    assert not first.renew(pause)
    assert second.renew(pause)


def test_who_was_taken_for_dead_stops_its_round(network, open_invoices, clock, capsys):
    invoices = open_invoices(3)
    for invoice in invoices:
        network.pay(invoice)

    def another_takes_over(call, addresses):
        clock.shift(reconciliation.LEASE)
        assert Lease.objects.acquire("reconcile", reconciliation.LEASE)

    network.before_answer = another_takes_over

    compare_all()

    assert len(network.searches) == 1
    assert "another process" in capsys.readouterr().err


# Real processes


def reconciling(server, *options, **environment):
    """A real `manage.py reconcile` that asks this server."""
    asks = {"BLOCKONOMICS_URL": server.url, "BLOCKONOMICS_SEARCH_SECONDS": "0", **environment}
    return running("reconcile", *options, **asks)


def time_goes_by():
    """So long that the dead are known to be dead."""
    Lease.objects.update(next_at=timezone.now())


def test_two_at_once_never_look_up_the_same_in_a_round(server, open_invoices, monkeypatch):
    for invoice in open_invoices(5):
        server.pay(invoice)
    both_have_begun, rest = threading.Event(), Reconciliation._rest

    def wait(self, seconds):
        both_have_begun.set()
        rest(self, 0.01)

    monkeypatch.setattr(Reconciliation, "_rest", wait)
    server.before_answer = lambda call, addresses: both_have_begun.wait(PATIENCE_SECONDS)

    complaints = []

    def go_through(_):
        try:
            return Reconciliation(complain=complaints.append).pass_through()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(go_through, range(2)))

    assert (outcomes, complaints) == ([True, True], [])
    assert len(server.asked("balance")) == 1
    assert set(Counter(server.looked_up()).values()) == {1}
    assert Invoice.objects.filter(settlement="confirming").count() == 5


def test_two_processes_keep_the_pause_between_them(server, open_invoices):
    pause = 0.25
    for invoice in open_invoices(6):
        server.pay(invoice)
    asked = []
    server.before_answer = lambda call, addresses: asked.append(time.monotonic())

    options = {"BLOCKONOMICS_SEARCH_SECONDS": str(pause)}
    with reconciling(server, **options) as one, reconciling(server, **options) as other:
        outputs = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in (one, other)]

    assert outputs == ["", ""]
    assert (one.returncode, other.returncode) == (0, 0)
    assert Invoice.objects.filter(settlement="confirming").count() == 6
    gaps = [later - sooner for sooner, later in zip(asked, asked[1:], strict=False)]
    assert min(gaps) >= pause


@pytest.mark.parametrize("at", [0, 1, 3])
def test_after_a_kill_the_next_run_does_what_is_left(server, open_invoices, at):
    invoices = open_invoices(4)
    for invoice in invoices:
        server.pay(invoice)
    server.confirm()
    reached, go_on = threading.Event(), threading.Event()

    def hold(call, addresses):
        if len(server.searches) == at + 1:
            reached.set()
            go_on.wait(PATIENCE_SECONDS)

    server.before_answer = hold
    with reconciling(server) as process:
        assert reached.wait(PATIENCE_SECONDS)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_SECONDS)
    go_on.set()
    done = {invoice.attempt.reference for invoice in Invoice.objects.paid()}
    assert len(done) == max(0, at - 1)
    server.searches.clear()
    time_goes_by()

    compare_all()

    assert Invoice.objects.paid().count() == Delivery.objects.count() == 4
    assert sorted(server.looked_up()) == sorted(
        invoice.attempt.reference for invoice in invoices if invoice.attempt.reference not in done
    )


@pytest.mark.parametrize(
    "step",
    [
        "payments.providers.blockonomics.Blockonomics.balances",
        "payments.providers.blockonomics.Blockonomics.look_up",
        "payments.ingestion.record_report",
        "payments.ingestion.reconcile_history",
        "payments.settling.settle",
        "payments.reconciliation.Reconciliation._tick_off",
    ],
)
def test_after_a_crash_at_any_step_the_next_run_finishes(network, open_invoices, monkeypatch, step):
    for invoice in open_invoices(3):
        network.pay(invoice)
    network.confirm()

    def crash(*given, **more):
        raise RuntimeError("crash")

    with monkeypatch.context() as patch:
        patch.setattr(step, crash)
        with pytest.raises(RuntimeError):
            compare_all()

    compare_all()

    assert Invoice.objects.paid().count() == Delivery.objects.count() == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_ends_cleanly_in_the_middle_of_its_waiting(server, one, number):
    server.pay(one)

    with reconciling(server, "--loop", BLOCKONOMICS_SEARCH_SECONDS="60") as process:
        wait_until(lambda: server.asked("balance"))
        process.send_signal(number)
        output = process.communicate(timeout=PATIENCE_SECONDS)[0]

    assert process.returncode == 0
    assert output == "The reconciliation has ended.\n"
    assert Lease.objects.get(name="reconcile").next_at <= timezone.now()


def test_the_service_goes_on_for_ever_and_through_trouble(server, one):
    server.set(faults={"balance": "garbage"})
    with reconciling(server, "--loop") as process:
        wait_until(lambda: server.asked("balance"))
        server.set(faults={})
        server.pay(one)
        wait_until(lambda: fresh(one).settlement == "confirming")
        server.confirm()
        wait_until(lambda: fresh(one).settlement == "paid")
        process.terminate()
        output = process.communicate(timeout=PATIENCE_SECONDS)[0]

    assert process.returncode == 0
    assert "Traceback" not in output


def test_the_service_ends_with_the_process_that_wanted_it(server):
    with reconciling(server, "--loop", "--parent", "1") as process:
        output = process.communicate(timeout=PATIENCE_SECONDS)[0]

    assert process.returncode == 0
    assert output == "The reconciliation has ended.\n"


def test_a_database_in_trouble_is_outlived(network, one, monkeypatch, caplog):
    network.pay(one)
    rounds = []

    class Patient(Reconciliation):
        def _rest(self, seconds):
            rounds.append(seconds)
            if len(rounds) == 3:
                self.ending.set()
            super()._rest(0)

        def pass_through(self):
            if len(rounds) < 2:
                raise ConnectionError("the database is away")
            return super().pass_through()

    monkeypatch.setattr(reconcile, "Reconciliation", Patient)
    call_command("reconcile", loop=True)

    assert rounds == [2, 4, 1]
    assert fresh(one).settlement == "confirming"
    assert caplog.text.count("A round of the reconciliation failed") == 2


def test_a_whole_purchase_without_any_callback(network, product, provider):
    from sandbox.management.commands import sandbox_setup

    call_command(
        sandbox_setup.Command(),
        callback_url=provider.callback_url(),
        api_key="demo-api-key",
        verbosity=0,
    )
    invoice = checkout.place_order([Line(product)], provider)
    network.pay(invoice)
    network.confirm()

    compare_all()

    assert fresh(invoice).settlement == "paid"
    assert fresh(invoice).delivery


def test_a_provider_without_its_settings_is_not_forgotten_in_silence(one, settings):
    settings.BLOCKONOMICS_API_KEY = ""
    told = []

    assert not Reconciliation(told.append).pass_through()

    assert told == ["There are open invoices of blockonomics, and its settings are missing."]
