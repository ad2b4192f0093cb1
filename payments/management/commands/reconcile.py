import logging
import os
import signal
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from payments import database, providers
from payments.models import Callback, Invoice, Turn
from payments.providers.base import ProviderError

logger = logging.getLogger(__name__)

ADDRESSES_PER_QUESTION = 100
# So many addresses in a row without an answer: then it is not the addresses.
FAILURES_IN_A_ROW = 3
# Longer than one question with all that follows: who was silent for so long is dead.
LEASE = timedelta(minutes=2)
REST_SECONDS, LONGEST_REST_SECONDS = 1, 300
LOOK_SECONDS = 0.5


class Ended(Exception):
    """The service was told to end."""


class LostTurn(Exception):
    """Another process took this one for dead and does its work."""


class Command(BaseCommand):
    help = "Holds open invoices against the network's history: finds what callbacks did not tell."

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ending = threading.Event()
        self.parent = None
        self.turn = None

    def add_arguments(self, parser):
        parser.add_argument("--loop", action="store_true", help="go on for ever, as a service")
        parser.add_argument("--parent", type=int, help="end when this process is gone")

    def handle(self, loop, parent=None, **options):
        self.parent = parent
        provider = providers.get("blockonomics")
        try:
            with self.ended_by_signals():
                if loop:
                    self.go_on(provider)
                self.pass_through(provider)
                self.tidy_up()
        except Ended:
            self.stdout.write("The reconciliation has ended.")

    def tidy_up(self):
        """What needs no answer from anybody."""
        Invoice.objects.catch_up(by="reconcile")
        Callback.objects.prune()

    def go_on(self, provider):
        """Round after round; in trouble with ever longer rests between them."""
        failures = 0
        while True:
            try:
                good = self.pass_through(provider)
                self.tidy_up()
            except Ended:
                raise
            except Exception:
                logger.exception("A round of the reconciliation failed; the next one follows.")
                database.release()
                good = False
            failures = 0 if good else min(failures + 1, 10)
            self.rest(min(REST_SECONDS * 2**failures, LONGEST_REST_SECONDS))

    def pass_through(self, provider) -> bool:
        """One round over all invoices that matter, those with the oldest need first.

        Each batch is one question (what do these addresses hold?); where that differs from the
        books, one more tells the address's history. Each invoice is ticked off when it is done: a
        round after a crash begins with what was left. Returns whether all went well.
        """
        began, good = timezone.now(), True
        try:
            with self.alone():
                while Invoice.objects.in_need(provider, began).exists():
                    good = self.compare_batch(provider, began) and good
        except ProviderError as error:
            self.stderr.write(str(error))
            return False
        except LostTurn:
            self.stderr.write("This took so long that another process has gone on with it.")
            return False
        return good

    def compare_batch(self, provider, began) -> bool:
        with self.turn_to_search():
            # Read as late as this, the books know what was heard during the wait.
            batch = list(Invoice.objects.in_need(provider, began)[:ADDRESSES_PER_QUESTION])
            asked_at = timezone.now()
            if not batch:
                return True
            held = provider.received([invoice.reference for invoice in batch])
        moved = [one for one in batch if not one.agrees_with(held[one.reference])]
        self.tick_off(set(batch) - set(moved), asked_at)
        failures = in_a_row = 0
        for invoice in moved:
            asked_at = timezone.now()
            try:
                self.look_up(provider, invoice.pk, held[invoice.reference])
                in_a_row = 0
            except ProviderError as error:
                failures, in_a_row = failures + 1, in_a_row + 1
                self.stderr.write(str(error))
            # One that fails is ticked off too, or it would stand first in the queue for ever.
            self.tick_off([invoice], asked_at)
            if in_a_row == FAILURES_IN_A_ROW:
                raise ProviderError("Too many addresses without an answer; the round ends.")
        return not failures

    def look_up(self, provider, pk, held):
        """Brings the history of one address into the books, if they still need it."""
        invoice = Invoice.objects.prefetch_related("transactions").get(pk=pk)
        if invoice.agrees_with(held):
            return
        with self.turn_to_search():
            asked_at = timezone.now()
            history = provider.look_up(invoice.reference)
        Invoice.objects.compare(provider, invoice, history, "reconcile", asked_at)

    def tick_off(self, invoices, at):
        done = Invoice.objects.filter(pk__in=[invoice.pk for invoice in invoices])
        done.update(compared_at=at)

    # One at a time, not too often, and not for ever

    @contextmanager
    def alone(self):
        """Waits until no other process is at it; more of them would only do the same twice."""
        while not (turn := Turn.objects.take("reconcile", LEASE)):
            self.rest(LOOK_SECONDS)
        self.turn = turn
        try:
            yield
        finally:
            self.turn = None
            turn.prolong(timedelta(0))

    @contextmanager
    def turn_to_search(self):
        """Blockonomics bans who searches more than twice a minute, whatever the process.

        The pause begins when the answer is there: a slow question never comes near the next one.
        """
        seconds = settings.BLOCKONOMICS_SEARCH_SECONDS
        pause = timedelta(seconds=seconds)
        while not (turn := Turn.objects.take("blockonomics-search", LEASE)):
            self.stay_alone()
            self.rest(min(LOOK_SECONDS, seconds / 10))
        try:
            self.stay_alone()
            yield
        finally:
            turn.prolong(pause)

    def stay_alone(self):
        if not self.turn.prolong(LEASE):
            raise LostTurn

    def rest(self, seconds):
        """Waits; raises Ended when it is time to go."""
        until = time.monotonic() + seconds
        while True:
            if self.parent not in (None, os.getppid()):
                raise Ended
            left = until - time.monotonic()
            if self.ending.wait(max(0, min(left, LOOK_SECONDS))):
                raise Ended
            if left <= LOOK_SECONDS:
                return

    @contextmanager
    def ended_by_signals(self):
        """SIGTERM and Ctrl-C let the question that was asked come to its end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {each: signal.signal(each, self.end) for each in signals}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def end(self, number, frame):
        self.ending.set()
        signal.signal(number, signal.SIG_DFL)  # who insists is obeyed
