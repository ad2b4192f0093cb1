"""The environment of the tests, set before Django reads its settings.

Without DATABASE_URL and REDIS_URL the tests run on SQLite and in memory; `python -m tests.servers`
gives them a real PostgreSQL and a real Redis.
"""

import atexit
import os
import shutil
import tempfile

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")

data_dir = tempfile.mkdtemp(prefix="shop-tests-")
atexit.register(shutil.rmtree, data_dir, ignore_errors=True)

os.environ.update(
    ENV_FILE=".env.example",
    DATA_DIR=data_dir,
    PORT="8000",
    SANDBOX="true",
    SANDBOX_BLOCK_SECONDS="0",
    LOG_LEVEL="WARNING",
    # Crowds come from one address here; test_rate_limits.py sets the limits that it needs.
    **dict.fromkeys(
        [
            *["LIMIT_PURCHASES", "LIMIT_PURCHASES_PER_VISITOR", "LIMIT_QUOTES", "LIMIT_LOOK_UPS"],
            *["LIMIT_REFUNDS", "LIMIT_E_MAILS"],
        ],
        "",
    ),
    MAX_OPEN_INVOICES="0",
    MAX_OPEN_INVOICES_PER_VISITOR="0",
)
if os.environ.get("REDIS_URL"):
    # A database of its own for each worker, so that one clears no other's cache.
    number = int(WORKER.removeprefix("gw") or 0)
    os.environ["REDIS_URL"] = os.environ["REDIS_URL"].rsplit("/", 1)[0] + f"/{number}"
