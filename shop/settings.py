"""The settings of the shop, read from the environment; .env.example explains every variable."""

import mimetypes
import os
from datetime import timedelta
from email.utils import formataddr
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from environs import Env

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()
env.read_env(os.environ.get("ENV_FILE", str(BASE_DIR / ".env")), recurse=False)

# The site

SECRET_KEY = env.str("SECRET_KEY")
DEBUG = env.bool("DEBUG", False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", [])
STAGING = env.bool("STAGING", False)
SITE_URL = env.str("SITE_URL").rstrip("/")
BEHIND_PROXY = env.bool("BEHIND_PROXY", False)
# The networks whose X-Forwarded-For and X-Forwarded-Proto are believed; nobody's, without a proxy.
_proxies = env.list("TRUSTED_PROXIES", ["127.0.0.0/8", "::1/128", "unix"])
TRUSTED_PROXIES = [words for proxy in _proxies if (words := proxy.strip())] if BEHIND_PROXY else []

ROOT_URLCONF = "shop.urls"
ASGI_APPLICATION = "shop.asgi.application"
WSGI_APPLICATION = "shop.wsgi.application"

# Where things are kept

DATA_DIR = BASE_DIR / env.str("DATA_DIR", "var")
MEDIA_ROOT = DATA_DIR / "media"
MEDIA_URL = "/media/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_URL = "/static/"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # What is sold. No public URL leads here: payments.views.download is the shoppers' way.
    "goods": {
        "BACKEND": "catalogue.downloads.GoodsStorage",
        "OPTIONS": {"location": DATA_DIR / "goods"},
    },
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

SENDFILE = env.str("SENDFILE", "").strip()

# Pictures, whose sizes payments/pictures.py makes. Stand-ins are for shops without any.
PICTURES = {
    "PICTURE_CLASS": "catalogue.pictures.Size",
    "PROCESSOR": "catalogue.pictures.make_sizes",
    "USE_PLACEHOLDERS": False,
}
# Not every system knows them, and browsers are told not to guess.
mimetypes.add_type("image/avif", ".avif")
mimetypes.add_type("image/webp", ".webp")

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASE_URL = env.str("DATABASE_URL", "") or f"sqlite:///{DATA_DIR / 'shop.sqlite3'}"
DATABASES = {"default": dj_database_url.parse(DATABASE_URL)}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Writers queue instead of failing with "database is locked", and a commit survives a power cut.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    # Under ASGI each request has a thread of its own: only a pool keeps connections alive.
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = {
        "min_size": 1,
        "max_size": env.int("DATABASE_POOL", 20),
        # With the database away, a callback is to hear soon that it should come again.
        "timeout": 4,
    }

REDIS_URL = env.str("REDIS_URL", "")
# What guards the shop is kept apart from what strangers can fill, so that nobody pushes it out:
# prices, spare addresses and locks in "default", the counts of the limits in "limits".
CACHE_ENTRIES = {"default": 10_000, "limits": 100_000, "strangers": 5_000}
if REDIS_URL:
    CACHES = {
        name: {
            "BACKEND": "shop.cache.ForgivingRedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": name,
            "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
        }
        for name in CACHE_ENTRIES
    }
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            # Redis' channels know no database numbers; two shops in one Redis must not mix them up.
            "CONFIG": {"hosts": [REDIS_URL], "prefix": f"shop{urlsplit(REDIS_URL).path}"},
        }
    }
else:
    CACHES = {
        name: {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": name,
            "OPTIONS": {"MAX_ENTRIES": entries},
        }
        for name, entries in CACHE_ENTRIES.items()
    }
    CHANNEL_LAYERS = {"default": {"BACKEND": "payments.live.MemoryChannelLayer"}}

# The shop

SHOP_NAME = env.str("SHOP_NAME", "Bitcoin Shop")
SHOP_CURRENCY = env.str("SHOP_CURRENCY", "USD").upper()
SHOP_LOGO = env.str("SHOP_LOGO", "").strip()
SHOP_ACCENT = env.str("SHOP_ACCENT", "").strip().lower()
# What a receipt names. Not every way to set a variable carries lines, so \n stands for a new one.
SHOP_ADDRESS = env.str("SHOP_ADDRESS", "").replace("\\n", "\n").strip()
SHOP_TAX_ID = env.str("SHOP_TAX_ID", "").strip()
TAX_NAME = env.str("TAX_NAME", "").strip()
TAX_RATE = env.decimal("TAX_RATE", 0)
BLOCK_EXPLORER = env.str("BLOCK_EXPLORER", "").strip()
EMAIL_CONFIG = env.dj_email_url("EMAIL_URL", "console://")
vars().update({name: value for name, value in EMAIL_CONFIG.items() if name.startswith("EMAIL_")})
EMAIL_TIMEOUT = env.int("EMAIL_TIMEOUT", 10)
MERCHANT_EMAIL = env.str("MERCHANT_EMAIL", "")
# A name may be written as people write it: what mail programs want in quotes gets them here.
_name, _, _address = env.str("EMAIL_FROM", "shop@example.com").strip().rpartition("<")
DEFAULT_FROM_EMAIL = formataddr((_name.strip(' "'), _address.strip("> ")))
EMAIL_REPLY_TO = env.str("EMAIL_REPLY_TO", "").strip()

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("es", "Español")]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_NAME = "language"
LANGUAGE_COOKIE_AGE = 365 * 24 * 60 * 60
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
TIME_ZONE = env.str("TIME_ZONE", "UTC")
USE_I18N = True
USE_TZ = True

# The ways to pay, in the order in which they are offered

WAYS_TO_PAY = [slug.strip() for slug in env.list("WAYS_TO_PAY", ["blockonomics"]) if slug.strip()]

# Blockonomics

BLOCKONOMICS_API_KEY = env.str("BLOCKONOMICS_API_KEY", "").strip()
BLOCKONOMICS_URL = env.str("BLOCKONOMICS_URL", "https://www.blockonomics.co").rstrip("/")
BLOCKONOMICS_CALLBACK_SECRETS = [
    secret.strip() for secret in env.list("BLOCKONOMICS_CALLBACK_SECRET", []) if secret.strip()
]
BLOCKONOMICS_XPUB = env.str("BLOCKONOMICS_XPUB", "").strip()
BLOCKONOMICS_XPUB_WINDOW = env.int("BLOCKONOMICS_XPUB_WINDOW", 10_000)
BLOCKONOMICS_SEARCH_SECONDS = env.float("BLOCKONOMICS_SEARCH_SECONDS", 30)
BITCOIN_NETWORK = env.str("BITCOIN_NETWORK", "main")
BLOCKONOMICS_TEST_MODE = env.bool("BLOCKONOMICS_TEST_MODE", False)
BLOCKONOMICS_TIMEOUT = timedelta(seconds=env.float("BLOCKONOMICS_TIMEOUT", 8))
PRICE_MAX_AGE = timedelta(seconds=env.int("PRICE_MAX_AGE", 60))

# Environment variables that guard something, and the settings that hold them.

SECRETS = {
    "SECRET_KEY": "SECRET_KEY",
    "BLOCKONOMICS_API_KEY": "BLOCKONOMICS_API_KEY",
    "BLOCKONOMICS_CALLBACK_SECRET": "BLOCKONOMICS_CALLBACK_SECRETS",
}

# The rules of money

QUOTE_LIFETIME = timedelta(minutes=env.int("QUOTE_MINUTES", 15))
QUOTE_GRACE = timedelta(seconds=env.int("QUOTE_GRACE", 60))
# In the smallest unit of each asset: wallets and nodes refuse to send dust.
SMALLEST_PAYMENTS = {"BTC": env.int("SMALLEST_PAYMENT", 546)}
UNDERPAYMENT_TOLERANCE = env.decimal("UNDERPAYMENT_TOLERANCE", 0)
CONFIRMATION_POLICY = env.str("CONFIRMATION_POLICY", "0-: 2")

VERIFY_FROM = env.decimal("VERIFY_FROM", 500)
DROP_AFTER = timedelta(minutes=env.int("DROP_AFTER_MINUTES", 60))
WATCH_LIFETIME = timedelta(hours=env.int("WATCH_HOURS", 24))
RECONCILE_DAYS = env.int("RECONCILE_DAYS", 30)
ORDER_LIFETIME = timedelta(days=env.int("ORDER_DAYS", 7))
STOCK_HOLD = timedelta(hours=env.int("STOCK_HOURS", 24))
CALLBACK_RETENTION_DAYS = env.int("CALLBACK_RETENTION_DAYS", 90)

# What one visitor may do, as rates of the library `limits`; by address, and by browser.

LIMITS = {
    "purchases": env.str("LIMIT_PURCHASES", "300/hour"),
    "purchases-per-visitor": env.str("LIMIT_PURCHASES_PER_VISITOR", "60/hour"),
    "quotes": env.str("LIMIT_QUOTES", "300/hour"),
    "look-ups": env.str("LIMIT_LOOK_UPS", "100/hour"),
    "refunds": env.str("LIMIT_REFUNDS", "100/hour"),
    "logins": env.str("LIMIT_LOGINS", "10/minute; 60/hour"),
    "e-mails": env.str("LIMIT_E_MAILS", "100/hour"),
    "e-mails-per-recipient": env.str("LIMIT_E_MAILS_PER_RECIPIENT", "10/hour; 30/day"),
}
MAX_OPEN_INVOICES_PER_VISITOR = env.int("MAX_OPEN_INVOICES_PER_VISITOR", 10)
MAX_OPEN_INVOICES = env.int("MAX_OPEN_INVOICES", 400)

# What is done after the commit: rows in the same database, worked off by `manage.py worker`

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
TASK_LEASE = timedelta(seconds=env.int("TASK_LEASE_SECONDS", 120))

# The sandbox

SANDBOX = env.bool("SANDBOX", False)
SANDBOX_BLOCK_SECONDS = env.int("SANDBOX_BLOCK_SECONDS", 60)
SANDBOX_CA_BUNDLE = env.str("SANDBOX_CA_BUNDLE", "").strip()
SANDBOX_API_KEYS = [BLOCKONOMICS_API_KEY]
SANDBOX_WALLET_URL = f"{BLOCKONOMICS_URL}/" if SANDBOX else ""

INSTALLED_APPS = [
    "daphne",
    "shop.apps.AdminSiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.sitemaps",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "django_tasks",
    "django_tasks_db",
    "catalogue",
    "payments",
]
if SANDBOX:
    INSTALLED_APPS += ["sandbox", "demo"]

MIDDLEWARE = [
    "shop.proxies.forwarded",
    "shop.middleware.security_headers",
    "django.middleware.security.SecurityMiddleware",
    "shop.static_files.StaticFiles",
    "shop.middleware.CompressedPages",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "shop.languages.Languages",
    "django.middleware.common.CommonMiddleware",
    "shop.csrf.FormGuard",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "shop.middleware.PlainErrors",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "libraries": {"bitcoin": "payments.bitcoin.template_tags"},
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "shop.context.shop",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# What may be loaded, from where: everything is our own, but for the payment service's socket.

_site, _service = urlsplit(SITE_URL), urlsplit(BLOCKONOMICS_URL)
_sockets = {
    f"{'wss' if url.scheme == 'https' else 'ws'}://{url.netloc}" for url in (_site, _service)
}
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self'",
        f"connect-src 'self' {' '.join(sorted(_sockets))}",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)

# HTTPS, as soon as the site's address says so

_is_https = SITE_URL.startswith("https://")
SECURE_SSL_REDIRECT = _is_https
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", 31_536_000) if _is_https else 0
# Other sites of the same domain are not ours to decide about; shop.csrf is Django's guard of forms.
SILENCED_SYSTEM_CHECKS = ["security.W003", "security.W005", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
# For so long a browser finds its basket and its purchases again.
VISITOR_COOKIE_AGE = 180 * 24 * 60 * 60
# Staff alone have sessions.
SESSION_COOKIE_AGE = 14 * 24 * 60 * 60
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = _is_https
CSRF_TRUSTED_ORIGINS = [SITE_URL]
CSRF_FAILURE_VIEW = "shop.csrf.refused"
# With this name browsers take it from this very host only, and only over https.
CSRF_COOKIE_NAME = "__Host-csrftoken" if _is_https else "csrftoken"
X_FRAME_OPTIONS = "DENY"
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# No form here carries more; pictures and goods are uploaded as files, which do not count.
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"no_secrets": {"()": "shop.logs.NoSecrets"}},
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["no_secrets"],
        }
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO")},
    "loggers": {
        # Django brings handlers of its own, which would write each line again, unfiltered.
        "django": {"handlers": [], "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        "daphne": {"level": "WARNING"},
        "django_tasks_db": {"level": "ERROR"},
    },
}
