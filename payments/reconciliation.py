"""Holding open invoices against what their providers know: finds what callbacks did not tell."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.utils import timezone

from . import database, ingestion, providers, settling
from .models import Callback, Lease, PaymentAttempt
from .providers.base import LimitsLookUps, Provider, ProviderError, ReportsBalances

logger = logging.getLogger(__name__)

ATTEMPTS_PER_QUESTION = 100
# So many references in a row without an answer: then it is not the references.
FAILURES_IN_A_ROW = 3
# Longer than one question with all that follows: who was silent for so long is dead.
LEASE = timedelta(minutes=2)
REST_SECONDS, LONGEST_REST_SECONDS = 1, 300
LOOK_SECONDS = 0.5


class Ended(Exception):
    """The service was told to end."""


class LeaseLost(Exception):
    """Another process took this one for dead and does its work."""


class Reconciliation:
    """Rounds over all attempts that matter; of several processes, one at a time does them.

    `parent` is the process that wants it, and with which it ends. `complain` tells a person.
    """

    def __init__(self, complain: Callable[[str], object], parent: int | None = None):
        self.complain, self.parent = complain, parent
        self.ending = threading.Event()
        self.lease = None

    def run(self, loop: bool):
        """One round, or with `loop` round after round; raises Ended when it was told to end."""
        with self._ended_by_signals():
            if loop:
                self.go_on()
            self.pass_through()
            self.tidy_up()

    def tidy_up(self):
        """Does what needs no answer from anybody."""
        settling.resettle(by="reconcile")
        Callback.objects.prune()

    def go_on(self):
        """Round after round; in trouble with ever longer rests between them."""
        failures = 0
        while True:
            try:
                good = self.pass_through()
                self.tidy_up()
            except Ended:
                raise
            except Exception:
                logger.exception("A round of the reconciliation failed; the next one follows.")
                database.release()
                good = False
            failures = 0 if good else min(failures + 1, 10)
            self._rest(min(REST_SECONDS * 2**failures, LONGEST_REST_SECONDS))

    def pass_through(self) -> bool:
        """One round over all providers; returns whether all went well.

        It begins before the wait for another process: what that one checks meanwhile is done.
        """
        began = timezone.now()
        try:
            with self._alone():
                every = providers.configured()
                went_well = [self._check_all(provider, began) for provider in every]
            return all(went_well) and not self._complain_of_the_deaf(every, began)
        except LeaseLost:
            self.complain("This took so long that another process has gone on with it.")
            return False

    def _complain_of_the_deaf(self, asked: list[Provider], began: datetime) -> bool:
        """Tells of attempts that nobody can be asked about, as their provider has no settings."""
        deaf = set(providers.PROVIDERS) - {provider.slug for provider in asked}
        due = PaymentAttempt.objects.due_for_reconciliation
        waiting = sorted(slug for slug in deaf if due(slug, began).exists())
        for slug in waiting:
            self.complain(f"There are open invoices of {slug}, and its settings are missing.")
        return bool(waiting)

    def _check_all(self, provider: Provider, began: datetime) -> bool:
        """Checks the provider's attempts, those that were longest unchecked first.

        Each batch is one question (what do these references hold?); where that differs from the
        books, one more tells the reference's history. Each attempt is ticked off when it is done:
        a round after a crash begins with what was left.
        """
        good, due = True, PaymentAttempt.objects.due_for_reconciliation
        try:
            while due(provider.slug, began).exists():
                good = self._check_batch(provider, began) and good
        except ProviderError as error:
            self.complain(str(error))
            return False
        return good

    def _check_batch(self, provider: Provider, began: datetime) -> bool:
        with self._turn_to_ask(provider):
            # Read as late as this, the books know what was heard during the wait.
            due = PaymentAttempt.objects.due_for_reconciliation(provider.slug, began)
            batch = list(due[:ATTEMPTS_PER_QUESTION])
            asked_at = timezone.now()
            if not batch:
                return True
            balances = self._balances(provider, batch)
        moved = [each for each in batch if not agree(each, balances)]
        self._tick_off(set(batch) - set(moved), asked_at)
        failures = in_a_row = 0
        for attempt in moved:
            asked_at = timezone.now()
            try:
                self._look_up(provider, attempt.pk, balances)
                in_a_row = 0
            except ProviderError as error:
                failures, in_a_row = failures + 1, in_a_row + 1
                self.complain(str(error))
            # One that fails is ticked off too, or it would stand first in the queue for ever.
            self._tick_off([attempt], asked_at)
            if in_a_row == FAILURES_IN_A_ROW:
                raise ProviderError("Too many references without an answer; the round ends.")
        return not failures

    def _balances(self, provider: Provider, batch) -> dict[str, int]:
        """What each reference holds; nothing is known where the provider cannot tell."""
        if not isinstance(provider, ReportsBalances):
            return {}
        return provider.balances([attempt.reference for attempt in batch])

    def _look_up(self, provider: Provider, pk: int, balances: dict[str, int]):
        """Brings the history of one reference into the books, if they still need it."""
        rows = PaymentAttempt.objects.select_related("invoice")
        attempt = rows.prefetch_related("invoice__attempts__transactions").get(pk=pk)
        if agree(attempt, balances):
            return
        with self._turn_to_ask(provider):
            asked_at = timezone.now()
            history = provider.look_up(attempt.reference)
        ingestion.reconcile_history(provider, attempt, history, "reconcile", asked_at)

    def _tick_off(self, attempts, at: datetime):
        done = PaymentAttempt.objects.filter(pk__in=[attempt.pk for attempt in attempts])
        done.update(checked_at=at)

    # One process at a time, not too often, and not for ever

    @contextmanager
    def _alone(self):
        """Waits until no other process is at it; more of them would only do the same twice."""
        while not (lease := Lease.objects.acquire("reconcile", LEASE)):
            self._rest(LOOK_SECONDS)
        self.lease = lease
        try:
            yield
        finally:
            self.lease = None
            lease.renew(timedelta(0))

    @contextmanager
    def _turn_to_ask(self, provider: Provider):
        """Keeps the pause that a service demands between questions, whatever the process.

        The pause begins when the answer is there: a slow question never comes near the next one.
        """
        is_limited = isinstance(provider, LimitsLookUps)
        seconds = provider.seconds_between_look_ups if is_limited else 0
        while not (lease := Lease.objects.acquire(f"{provider.slug}-look-up", LEASE)):
            self._stay_alone()
            self._rest(min(LOOK_SECONDS, seconds / 10))
        try:
            self._stay_alone()
            yield
        finally:
            lease.renew(timedelta(seconds=seconds))

    def _stay_alone(self):
        if not self.lease.renew(LEASE):
            raise LeaseLost

    def _rest(self, seconds: float):
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
    def _ended_by_signals(self):
        """SIGTERM and Ctrl-C let the question that was asked come to its end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {each: signal.signal(each, self._end) for each in signals}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _end(self, number, frame):
        self.ending.set()
        signal.signal(number, signal.SIG_DFL)  # who insists is obeyed


def agree(attempt: PaymentAttempt, balances: dict[str, int]) -> bool:
    """Whether books and provider agree so far that the history needs no look."""
    known = balances.get(attempt.reference)
    if known is None:
        return False
    own = next(each for each in attempt.invoice.attempts.all() if each.pk == attempt.pk)
    return own.agrees_with(known)
