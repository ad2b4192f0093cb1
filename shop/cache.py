"""A cache that may go away: then the shop is slower, not closed."""

import functools
import logging
import time

from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_WARNINGS = 60
_warned_at = float("-inf")


def forgiving(name: str, answer):
    """The cache's method of that name, which answers so while Redis does not."""
    ask = getattr(RedisCache, name)

    @functools.wraps(ask)
    def method(self, *args, **kwargs):
        try:
            return ask(self, *args, **kwargs)
        except (RedisError, OSError) as error:
            warn(error)
            return answer(*args, **kwargs)

    return method


def warn(error: Exception):
    global _warned_at
    if time.monotonic() - _warned_at > SECONDS_BETWEEN_WARNINGS:
        _warned_at = time.monotonic()
        logger.error("Redis does not answer, the shop goes on without a cache: %s", error)


class ForgivingRedisCache(RedisCache):
    """Redis; while it is away, a cache that has forgotten all and forgets what it is told.

    So a price is asked for again, and whoever wants a turn to buy gets it at once.
    """

    get = forgiving("get", lambda key, default=None, version=None: default)
    add = forgiving("add", lambda *args, **kwargs: True)
    set = forgiving("set", lambda *args, **kwargs: None)
    delete = forgiving("delete", lambda *args, **kwargs: False)
    touch = forgiving("touch", lambda *args, **kwargs: False)
    has_key = forgiving("has_key", lambda *args, **kwargs: False)
    incr = forgiving("incr", lambda key, delta=1, version=None: delta)
    get_many = forgiving("get_many", lambda *args, **kwargs: {})
    set_many = forgiving("set_many", lambda data, *args, **kwargs: list(data))
    delete_many = forgiving("delete_many", lambda *args, **kwargs: None)
    clear = forgiving("clear", lambda *args, **kwargs: False)
