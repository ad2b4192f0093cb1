"""How often one visitor may knock at a door, so that nobody uses up what all shoppers need.

The counting is done by `limits`, in Django's cache: Redis where there is Redis, else each process
by itself. With Redis away nobody is counted: a shop that sells too freely beats a closed one.
"""

import functools
import logging
import math
import time

from django.conf import settings
from django.core.cache import caches
from django.shortcuts import render
from limits import RateLimitItem, parse_many
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from shop import proxies

from .visitors import known_visitor

logger = logging.getLogger(__name__)


def counts():
    """A cache that nothing else fills, so that no count is pushed out."""
    return caches["limits"]


class DjangoCache(Storage):
    """Keeps the counts of `limits` in the shop's own cache, whichever that is."""

    STORAGE_SCHEME = ["django-cache"]
    base_exceptions = ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        cache = counts()
        if cache.add(key, amount, expiry):
            cache.set(f"{key}/until", time.time() + expiry, expiry)
            return amount
        try:
            return cache.incr(key, amount)
        except ValueError:  # its time ended between the two questions
            return amount

    def get(self, key: str) -> int:
        return counts().get(key, 0)

    def get_expiry(self, key: str) -> float:
        return counts().get(f"{key}/until", time.time())

    def clear(self, key: str) -> None:
        counts().delete_many([key, f"{key}/until"])

    def check(self) -> bool:
        return True

    def reset(self) -> None:
        raise NotImplementedError("The shop's cache holds more than counts.")


limiter = FixedWindowRateLimiter(DjangoCache())


def rates(name: str) -> list[RateLimitItem]:
    """The rates that the setting of this name asks for; ValueError if it is no list of rates."""
    return parse_many(settings.LIMITS[name]) if settings.LIMITS.get(name) else []


def within_an_hour(name: str) -> float:
    """How often one and the same may knock in an hour; infinity if there is no limit."""
    hourly = [rate.amount * max(1, 3600 / rate.get_expiry()) for rate in rates(name)]
    return min(hourly, default=math.inf)


def knock(name: str, request, recipient: str = "") -> int:
    """Counts this request; answers the seconds to wait if it is one too many, else 0.

    The narrowest first: who goes on clicking must not use up what the neighbours share.
    """
    counted = {
        f"{name}-per-visitor": known_visitor(request),
        f"{name}-per-recipient": recipient.lower(),
        name: proxies.network(request),
    }
    for kind, who in counted.items():
        for rate in rates(kind) if who else []:
            if not limiter.hit(rate, kind, who):
                until = limiter.get_window_stats(rate, kind, who).reset_time
                return max(1, round(until - time.time()))
    return 0


def refused(name: str, request, recipient: str = ""):
    """Counts this request; the page that says when to come back, None if it is not one too many.

    `recipient`: who gets a mail of it, and was not asked.
    """
    if not (seconds := knock(name, request, recipient)):
        return None
    logger.warning("The limit of %s was reached: %s", name, settings.LIMITS[name])
    response = render(request, "429.html", {"minutes": -(-seconds // 60)}, status=429)
    response["Retry-After"] = str(seconds)
    return response


def limited(name: str):
    """A view whose POSTs are counted; beyond settings.LIMITS, a 429 says when to come back."""

    def decorate(view):
        @functools.wraps(view)
        def wrapped(request, *args, **kwargs):
            recipient = request.POST.get("email", "") if name == "e-mails" else ""
            is_counted = request.method == "POST"
            page = refused(name, request, recipient) if is_counted else None
            return page or view(request, *args, **kwargs)

        return wrapped

    return decorate
