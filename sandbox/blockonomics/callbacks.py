"""The callbacks: a GET on the store's own URL for every new status, until it answers 200.

schedule → claim_due → send → note. Nothing here holds a database transaction while it talks.
"""

import random
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urldefrag, urlencode

import requests
from django.db.models import Q
from django.db.transaction import atomic, on_commit
from django.utils import timezone

from sandbox import conf, wakeup
from sandbox.models import Address, Attempt, Delivery, Settings

DUE, HELD = Delivery.State.DUE, Delivery.State.HELD
AT_ONCE_PER_STORE = 8  # so that a store that does not answer keeps nobody else waiting
BODY_LENGTH = 300


def schedule(payment, status):
    """Owes a callback to every store whose address the payment reaches, once per event."""
    settings = Settings.objects.current()
    if settings.callbacks == settings.Callbacks.OFF or skipped(settings, status):
        return
    for watched in Address.objects.filter(address__in=payment.addresses, store__isnull=False):
        owe(watched, payment, status, settings)
    on_commit(wakeup.wake_engine)


def skipped(settings, status):
    skipping = settings.callbacks == settings.Callbacks.SKIPPING
    return skipping and status in settings.skipped_statuses


def owe(watched, payment, status, settings):
    value = payment.value_to(watched.address)
    if not value or not watched.store.http_callback:
        return
    reordered = settings.callbacks == settings.Callbacks.REORDERED
    Delivery.objects.get_or_create(
        store=watched.store,
        transaction=payment,
        address=watched.address,
        status=status,
        defaults={
            "value": value,
            "state": HELD if reordered and status < 2 else DUE,
            "copies_left": 1 if settings.callbacks == settings.Callbacks.TWICE else 0,
        },
    )


def cancel(payment):
    payment.deliveries.filter(state__in=[DUE, HELD]).update(state=Delivery.State.CANCELLED)


def claim_due(in_flight=None):
    """The deliveries that this process now sends, claimed for as long as sending may take.

    The claim is a conditional UPDATE, so two processes never claim the same one; it is a lease, so
    what a crashed process had claimed is sent by another. `in_flight`: {store id: requests open}.
    """
    open_requests = Counter(in_flight or {})
    lease = timedelta(seconds=10 + 3 * float(Settings.objects.current().callback_timeout_seconds))
    claimed = []
    for delivery in due(timezone.now()).order_by("due_at", "pk")[:200]:
        if open_requests[delivery.store_id] >= AT_ONCE_PER_STORE:
            continue
        now = timezone.now()
        if due(now).filter(pk=delivery.pk).update(claimed_until=now + lease):
            open_requests[delivery.store_id] += 1
            claimed.append(delivery)
    return claimed


def due(now):
    unclaimed = Q(claimed_until__isnull=True) | Q(claimed_until__lt=now)
    waiting = Delivery.objects.filter(unclaimed, state=DUE, due_at__lte=now)
    return waiting.select_related("store", "transaction")


@dataclass(frozen=True)
class Call:
    """A request to make, and then what came of it."""

    url: str
    timeout_seconds: float
    follows_redirects: bool
    ca_bundle: str = ""


@dataclass(frozen=True)
class Answer:
    """`code` is None when nobody answered; then `error` says why."""

    url: str
    started_at: object
    milliseconds: int
    code: int | None = None
    body: str = ""
    error: str = ""


def prepare(delivery):
    """The request that the delivery makes now: the store's URL may have changed since."""
    settings = Settings.objects.current()
    return Call(
        url=with_parameters(delivery.store.http_callback, parameters_of(delivery, settings)),
        timeout_seconds=float(settings.callback_timeout_seconds),
        follows_redirects=settings.callback_follows_redirects,
        ca_bundle=conf.ca_bundle(),
    )


def parameters_of(delivery, settings):
    parameters = {
        "status": delivery.status,
        "addr": delivery.address,
        "value": delivery.value,
        "txid": delivery.transaction.txid,
    }
    if delivery.status == 0 and delivery.transaction.rbf:
        parameters["rbf"] = delivery.transaction.rbf
    if settings.callback_crypto:
        parameters["crypto"] = "BTC"
    return parameters


def with_parameters(url, parameters):
    """The URL with the parameters behind its own, in any order: no order is promised."""
    pairs = list(parameters.items())
    random.shuffle(pairs)
    url = urldefrag(url).url
    if "?" not in url:
        return f"{url}?{urlencode(pairs)}"
    separator = "" if url.endswith(("?", "&")) else "&"
    return f"{url}{separator}{urlencode(pairs)}"


def send(call):
    """Makes the request; whatever goes wrong is in the Answer."""
    started_at, clock = timezone.now(), time.monotonic()

    def answer(**what_came):
        milliseconds = round((time.monotonic() - clock) * 1000)
        return Answer(call.url, started_at, milliseconds, **what_came)

    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of this machine must not see the secrets
            with session.get(
                call.url,
                timeout=call.timeout_seconds,
                allow_redirects=call.follows_redirects,
                verify=call.ca_bundle or True,
                stream=True,
            ) as response:
                beginning = next(response.iter_content(4 * BODY_LENGTH), b"")
                body = beginning.decode("utf-8", "replace").replace("\0", "")[:BODY_LENGTH]
                return answer(code=response.status_code, body=body)
    except (OSError, ValueError) as error:
        return answer(error=f"{type(error).__name__}: {error}")


@atomic
def note(delivery, answer):
    """Logs the answer and decides what happens next. When it is tried again, or None."""
    settings = Settings.objects.current()
    delivery = Delivery.objects.select_for_update().filter(pk=delivery.pk).first()
    if delivery is None:
        return None  # the store was deleted meanwhile
    delivery.tries += 1
    delivery.claimed_until = None
    retry_at = None
    if delivery.state == DUE:
        retry_at = conclude(delivery, answer, settings)
    delivery.save(update_fields=["tries", "claimed_until", "state", "due_at", "copies_left"])
    log(delivery, answer, retry_at)
    if delivery.state != DUE:
        release_held(delivery)
    return retry_at


def conclude(delivery, answer, settings):
    """Only HTTP 200 counts. Answers when the next request is due, None if there is none."""
    if answer.code == 200 and not delivery.copies_left:
        delivery.state = Delivery.State.DELIVERED
        return None
    if answer.code == 200:
        delivery.copies_left -= 1
        delivery.due_at = timezone.now()
        return delivery.due_at
    if delivery.tries > settings.callback_retries:
        delivery.state = Delivery.State.GIVEN_UP
        return None
    delivery.due_at = timezone.now() + wait_before_retry(delivery.tries, settings)
    return delivery.due_at


def wait_before_retry(retry, settings):
    """4, 8, 16 … seconds before the retries 1, 2, 3 …, times the clock of the settings."""
    growth = settings.callback_backoff_factor ** (retry - 1)
    seconds = settings.callback_backoff_seconds * growth * settings.callback_clock
    return timedelta(seconds=float(seconds))


def log(delivery, answer, retry_at):
    Attempt.objects.create(
        delivery=delivery,
        number=delivery.tries,
        url=answer.url,
        started_at=answer.started_at,
        milliseconds=answer.milliseconds,
        response_code=answer.code,
        error=answer.error,
        body=answer.body,
        retry_at=retry_at,
    )


def release_held(delivery):
    """In the order "reordered", status 1 waits for 2, and 0 for 1."""
    before = Delivery.objects.filter(
        store=delivery.store_id,
        transaction=delivery.transaction_id,
        address=delivery.address,
        status=delivery.status - 1,
        state=HELD,
    )
    if before.update(state=DUE, due_at=timezone.now()):
        on_commit(wakeup.wake_engine)


def deliver_due():
    """Sends everything that is due, one after the other: the engine in slow motion, for scripts."""
    while claimed := claim_due():
        for delivery in claimed:
            note(delivery, send(prepare(delivery)))
