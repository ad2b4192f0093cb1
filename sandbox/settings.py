"""The settings of a sandbox that runs alone: python -m sandbox."""

import os
import secrets
from pathlib import Path

DATA_DIR = Path(os.environ.get("SANDBOX_DATA_DIR") or "var/sandbox").resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)

SANDBOX_API_KEYS = [
    key.strip()
    for key in os.environ.get("SANDBOX_API_KEYS", "sandbox-api-key").split(",")
    if key.strip()
]
SANDBOX_BLOCK_SECONDS = int(os.environ.get("SANDBOX_BLOCK_SECONDS") or 0)
SANDBOX_CA_BUNDLE = os.environ.get("SANDBOX_CA_BUNDLE", "")
SANDBOX_XPUB = os.environ.get("SANDBOX_XPUB", "")

DEBUG = True
SECRET_KEY = secrets.token_urlsafe(50)  # signs nothing that has to outlive the process
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", "host.docker.internal", "sandbox"]

INSTALLED_APPS = ["channels", "django.contrib.staticfiles", "sandbox"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "sandbox.urls_alone"
ASGI_APPLICATION = "sandbox.asgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
STATIC_URL = "/static/"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "sandbox.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL;",
        },
    }
}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
USE_TZ = True
TIME_ZONE = "UTC"
