"""Who is asking: the visitor's own address, also behind proxies, but only behind known ones.

Anybody can send X-Forwarded-For and X-Forwarded-Proto. They are believed if whoever hands the
request over is in settings.TRUSTED_PROXIES, and else taken away before anybody reads them.
"""

import functools
import ipaddress
import logging

from django.conf import settings

logger = logging.getLogger(__name__)

# The peer on a Unix socket has no address; in TRUSTED_PROXIES this word stands for it.
UNIX = "unix"
# An IPv6 household or phone has at least 2**64 addresses of its own.
IPV6_HOUSEHOLD = 64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@functools.cache
def networks(texts: tuple[str, ...]) -> list:
    """The networks that these words mean; ValueError if one is none."""
    return [ipaddress.ip_network(text, strict=False) for text in texts if text != UNIX]


def address(text: str) -> Address | None:
    """The address in one entry of X-Forwarded-For, some of which carry a port."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket for both kinds calls 192.0.2.1 ::ffff:192.0.2.1, all of one /64.
    return getattr(found, "ipv4_mapped", None) or found


def is_trusted(peer: str) -> bool:
    if not peer:
        return UNIX in settings.TRUSTED_PROXIES
    found = address(peer)
    return found is not None and any(
        found in network for network in networks(tuple(settings.TRUSTED_PROXIES))
    )


def client(peer: str, forwarded: str) -> str:
    """The right-most address that no trusted proxy has: what stands left of it is hearsay."""
    for entry in reversed([part for part in forwarded.split(",") if part.strip()]):
        if not is_trusted(peer):
            break
        if (found := address(entry)) is None:
            break
        peer = str(found)
    return peer


def forwarded(get_response):
    """Makes REMOTE_ADDR the visitor's address, and lets only trusted proxies say more."""

    def middleware(request):
        peer = request.META.get("REMOTE_ADDR", "")
        told = request.META.pop("HTTP_X_FORWARDED_FOR", "")
        if is_trusted(peer):
            request.META["REMOTE_ADDR"] = client(peer, told)
        else:
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)
            if told:
                tell_of(peer)
        return get_response(request)

    return middleware


@functools.lru_cache(maxsize=1000)
def tell_of(peer: str):
    """A proxy of one's own that nobody trusts makes all shoppers one; said once, at its address."""
    found = address(peer)
    if peer and (found is None or found.is_global):
        return
    logger.warning(
        "%s sends X-Forwarded-For and is not trusted: if it is your proxy, all its visitors count "
        "as one. Set BEHIND_PROXY and TRUSTED_PROXIES.",
        peer or "A Unix socket",
    )


def network(request) -> str:
    """The visitor's address, of IPv6 the household's network; empty if there is none."""
    found = address(request.META.get("REMOTE_ADDR", ""))
    if found is None:
        return ""
    if found.version == 6:
        return str(ipaddress.ip_network((found, IPV6_HOUSEHOLD), strict=False))
    return str(found)
