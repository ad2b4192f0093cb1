"""The shop's own settings, with the naive view beside its doors, and the pictures served."""

from shop.settings import *  # noqa: F403
from shop.settings import DATA_DIR, DATABASES

ROOT_URLCONF = "benchmarks.urls"

# SQLite as a new Django project has it.
DATABASES["plain"] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": DATA_DIR / "plain.sqlite3",
}
