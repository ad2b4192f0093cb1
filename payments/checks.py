"""What is wrong with the configuration, said at the start and not to a shopper."""

import re
from datetime import timedelta
from email.utils import parseaddr
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from dotenv import dotenv_values

from catalogue.downloads import SENDFILE_HEADERS
from shop import proxies

from . import providers, rate_limits
from .money import Asset
from .policy import parse_confirmation_policy
from .providers.base import ChecksSettings

LONGEST_TAX_NAME = 30


@register()
def check_ways_to_pay(app_configs, **kwargs):
    unknown = [slug for slug in settings.WAYS_TO_PAY if slug not in providers.PROVIDERS]
    if unknown or not settings.WAYS_TO_PAY:
        yield Error(
            f"WAYS_TO_PAY is {', '.join(settings.WAYS_TO_PAY)!r}.",
            hint=f"Name one or several of {', '.join(providers.PROVIDERS)}.",
            id="payments.E010",
        )
    for provider in _checked_providers():
        yield from provider.check_settings()


@register(Tags.security, deploy=True)
def check_deployed_ways_to_pay(app_configs, **kwargs):
    for provider in _checked_providers():
        yield from provider.check_deployment()


def _checked_providers() -> list:
    known = [slug for slug in settings.WAYS_TO_PAY if slug in providers.PROVIDERS]
    return [each for each in map(providers.get, known) if isinstance(each, ChecksSettings)]


@register(Tags.security)
def check_that_the_demo_is_over(app_configs, **kwargs):
    """Everybody can read .env.example, so a real shop must share no secret with it."""
    if settings.DEBUG:
        return
    known = dotenv_values(settings.BASE_DIR / ".env.example", interpolate=False)
    for name, setting in settings.SECRETS.items():
        value = getattr(settings, setting)
        if known[name] in (value if isinstance(value, list) else [value]):
            yield Error(
                f"{name} is the demo's, which everybody knows.",
                hint="Set your own; .env.example says how.",
                id="payments.E008",
            )


@register()
def check_money(app_configs, **kwargs):
    try:
        Asset.fiat(settings.SHOP_CURRENCY)
    except ValueError:
        yield Error(
            f"SHOP_CURRENCY is {settings.SHOP_CURRENCY!r}.",
            hint="Write the ISO 4217 code, like EUR.",
            id="payments.E004",
        )
    if not 0 <= settings.UNDERPAYMENT_TOLERANCE < 100:
        yield Error(
            "UNDERPAYMENT_TOLERANCE is a share of the total, in percent, from 0 to below 100.",
            hint="0 asks for every cent.",
            id="payments.E005",
        )
    try:
        steps = parse_confirmation_policy(settings.CONFIRMATION_POLICY)
    except ValueError as error:
        yield Error(
            str(error),
            hint='"0-: 2" asks for status 2 whatever the total.',
            id="payments.E006",
        )
    else:
        if any(enough == 0 for _, enough in steps):
            yield Warning(
                "CONFIRMATION_POLICY accepts unconfirmed payments, which can be taken back.",
                hint="Do it for goods only that cost you nothing when they are lost.",
                id="payments.W003",
            )


@register(Tags.security)
def check_proxies(app_configs, **kwargs):
    try:
        trusted = proxies.networks(tuple(settings.TRUSTED_PROXIES))
    except ValueError as error:
        yield Error(
            f"TRUSTED_PROXIES: {error}",
            hint='Write addresses or networks, separated by commas: "127.0.0.1, 10.0.0.0/8".',
            id="payments.E011",
        )
    else:
        if settings.BEHIND_PROXY and not settings.TRUSTED_PROXIES:
            yield Error(
                "BEHIND_PROXY is on and TRUSTED_PROXIES empty: nobody may say that it is https.",
                hint="List the networks of your own proxies.",
                id="payments.E011",
            )
        if any(network.prefixlen == 0 for network in trusted):
            yield Warning(
                "TRUSTED_PROXIES is everybody, so any visitor can claim any address.",
                hint="List the networks of your own proxies only.",
                id="payments.W011",
            )


@register()
def check_limits(app_configs, **kwargs):
    for name in settings.LIMITS:
        try:
            rate_limits.rates(name)
        except ValueError:
            yield Error(
                f"The limit of {name} is {settings.LIMITS[name]!r}, which is no rate.",
                hint='Write "60/hour" or "5/minute; 60/hour", or nothing for no limit.',
                id="payments.E012",
            )


@register()
def check_cap(app_configs, **kwargs):
    try:
        hourly = rate_limits.within_an_hour("purchases")
    except ValueError:  # check_limits tells of it
        return
    most = settings.MAX_OPEN_INVOICES
    if 0 < most <= hourly:
        yield Warning(
            f"MAX_OPEN_INVOICES is {most}, and one address may ask for {hourly:.0f} invoices an "
            "hour (LIMIT_PURCHASES): it can close the shop by itself.",
            hint="Raise the one, together with the wallet's gap limit, or lower the other.",
            id="payments.W012",
        )


@register()
def check_spans(app_configs, **kwargs):
    """How long orders and goods are kept."""
    if timedelta(0) >= settings.QUOTE_LIFETIME:
        yield Error(
            "QUOTE_MINUTES is not above zero, so every quote would be over at once.",
            hint="A payment takes minutes: 15 is usual.",
            id="payments.E017",
        )
    elif max(settings.STOCK_HOLD, settings.QUOTE_LIFETIME) > settings.ORDER_LIFETIME:
        yield Error(
            "ORDER_DAYS is shorter than STOCK_HOURS or QUOTE_MINUTES.",
            hint="An order lasts at least as long as its goods are kept and its quote stands.",
            id="payments.E013",
        )


@register()
def check_addresses(app_configs, **kwargs):
    """Wrong ones would make every mail fail, when the first customer is there."""
    given = {
        "EMAIL_FROM": settings.DEFAULT_FROM_EMAIL,
        "EMAIL_REPLY_TO": settings.EMAIL_REPLY_TO,
        "MERCHANT_EMAIL": settings.MERCHANT_EMAIL,
    }
    for name, value in given.items():
        try:
            address = parseaddr(value)[1] if name == "EMAIL_FROM" else value
            if value:
                validate_email(address)
        except ValidationError:
            yield Error(
                f"{name} is {value!r}, which is no e-mail address.",
                hint="Write shop@example.com or, for the sender, Shop <shop@example.com>.",
                id="payments.E014",
            )


@register()
def check_places(app_configs, **kwargs):
    site, redis = urlsplit(settings.SITE_URL), urlsplit(settings.REDIS_URL)
    if site.scheme not in ("http", "https") or not site.hostname or site.path or site.query:
        yield Error(
            f"SITE_URL is {settings.SITE_URL!r}.",
            hint="Write https:// and the host, like https://shop.example.com, without a path.",
            id="payments.E015",
        )
    if settings.SENDFILE not in ("", *SENDFILE_HEADERS):
        yield Error(
            f"SENDFILE is {settings.SENDFILE!r}.",
            hint=f"It is empty, or one of {', '.join(SENDFILE_HEADERS)}.",
            id="payments.E018",
        )
    if settings.REDIS_URL and redis.scheme not in ("redis", "rediss", "unix"):
        yield Error(
            "REDIS_URL does not begin with redis://, rediss:// or unix://.",
            hint="Write it like redis://127.0.0.1:6379/0, or nothing.",
            id="payments.E016",
        )


@register()
def check_receipts(app_configs, **kwargs):
    rate, name = settings.TAX_RATE, settings.TAX_NAME
    if not 0 <= rate < 100 or rate != round(rate, 4) or len(name) > LONGEST_TAX_NAME:
        yield Error(
            "TAX_RATE is a percentage from 0 to below 100, with four decimals at the most, and "
            f"TAX_NAME has {LONGEST_TAX_NAME} letters at the most.",
            hint="TAX_RATE=19 and TAX_NAME=VAT say that a price of 119 includes a tax of 19.",
            id="payments.E020",
        )
    elif bool(rate) != bool(name):
        yield Warning(
            "TAX_RATE and TAX_NAME go together: one of them is missing.",
            hint="Set both, or for receipts without a line for the tax neither.",
            id="payments.W020",
        )


@register(Tags.security, deploy=True)
def check_urls(app_configs, **kwargs):
    if not settings.SITE_URL.startswith("https://"):
        yield Warning(
            "SITE_URL does not begin with https://.",
            hint="Without it shoppers cannot trust the address they pay to.",
            id="payments.W004",
        )


@register()
def check_looks(app_configs, **kwargs):
    if settings.SHOP_ACCENT and not re.fullmatch(r"#[0-9a-f]{6}", settings.SHOP_ACCENT):
        yield Error(
            f"SHOP_ACCENT is {settings.SHOP_ACCENT!r}.",
            hint='Write a colour with six digits, in quotes: "#1f4e6b".',
            id="payments.E030",
        )
    if settings.SHOP_LOGO and not re.fullmatch(r"/[\w.-][\w./%-]*", settings.SHOP_LOGO):
        yield Error(
            f"SHOP_LOGO is {settings.SHOP_LOGO!r}, which browsers would not load.",
            hint="Pages show pictures of their own host only: /media/logo.svg for DATA_DIR/media.",
            id="payments.E031",
        )
