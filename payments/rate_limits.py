"""How often one visitor may knock at a door, so that nobody uses up what all shoppers need.

The counting is done by `limits`, in Django's cache: Redis where there is Redis, else each process
by itself. With Redis away nobody is counted: a shop that sells too freely beats a closed one.
"""

import functools
import logging
import math
import time

from django.conf import settings
from django.core.cache import cache
from django.shortcuts import render
from limits import RateLimitItem, parse_many
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from shop import proxies

from .visitors import known_visitor

logger = logging.getLogger(__name__)


class DjangoCache(Storage):
    """Keeps the counts of `limits` in the shop's own cache, whichever that is."""

    STORAGE_SCHEME = ["django-cache"]
    base_exceptions = ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        if cache.add(key, amount, expiry):
            cache.set(f"{key}/until", time.time() + expiry, expiry)
            return amount
        try:
            return cache.incr(key, amount)
        except ValueError:  # its time ended between the two questions
            return amount

    def get(self, key: str) -> int:
        return cache.get(key, 0)

    def get_expiry(self, key: str) -> float:
        return cache.get(f"{key}/until", time.time())

    def clear(self, key: str) -> None:
        cache.delete_many([key, f"{key}/until"])

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


def knock(name: str, request) -> int:
    """Counts this request; answers the seconds to wait if it is one too many, else 0."""
    # The visitor first: who goes on clicking must not use up what the neighbours share.
    for who, kind in (
        (known_visitor(request), f"{name}-per-visitor"),
        (proxies.network(request), name),
    ):
        for rate in rates(kind) if who else []:
            if not limiter.hit(rate, kind, who):
                until = limiter.get_window_stats(rate, kind, who).reset_time
                return max(1, round(until - time.time()))
    return 0


def refused(name: str, request):
    """Counts this request; the page that says when to come back, None if it is not one too many."""
    if not (seconds := knock(name, request)):
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
            page = refused(name, request) if request.method == "POST" else None
            return page or view(request, *args, **kwargs)

        return wrapped

    return decorate
