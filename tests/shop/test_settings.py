"""The environment, the settings that come of it, and the versions they were tested with."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
# Whoever runs the shop relies on these names.
PROMISED = {
    *["SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "SITE_URL", "DATABASE_URL", "REDIS_URL"],
    *["SHOP_NAME", "SHOP_CURRENCY", "EMAIL_URL", "QUOTE_MINUTES"],
    *["BLOCKONOMICS_API_KEY", "BLOCKONOMICS_URL", "BLOCKONOMICS_CALLBACK_SECRET"],
    *["SANDBOX", "SANDBOX_BLOCK_SECONDS"],
}
EXAMPLE = (ROOT / ".env.example").read_text().splitlines()


def names_read() -> list[str]:
    """The variables that shop/settings.py reads: env.<type>("NAME", …)."""
    tree = ast.parse((ROOT / "shop" / "settings.py").read_text())
    return [
        call.args[0].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "env"
        and call.func.attr != "read_env"
    ]


def names_explained() -> list[str]:
    return [line.partition("=")[0] for line in EXAMPLE if re.match("[A-Z_]+=", line)]


def production() -> dict[str, str]:
    """The values with which the Makefile checks the production settings."""
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    words = shlex.split(re.search(r"^PRODUCTION := (.*)$", makefile, re.MULTILINE)[1])
    return dict(word.split("=", 1) for word in words)


@pytest.fixture
def run(tmp_path):
    """Runs Python in a process of its own that knows no variables but the given ones."""

    def run(*arguments, **environment):
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        given = {"ENV_FILE": ".env.example", **environment, "DATA_DIR": str(tmp_path)}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**kept, **given},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def settings_under(run):
    """The named settings, as they come of these variables."""

    def read(*names, **environment):
        chosen = ", ".join(f"{name!r}: settings.{name}" for name in names)
        program = f"import json; from shop import settings; print(json.dumps({{{chosen}}}))"
        result = run("-c", program, **environment)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return read


# The environment


def test_every_variable_that_is_read_is_explained():
    assert set(names_read()) - set(names_explained()) == set()


def test_every_variable_that_is_explained_is_read():
    assert set(names_explained()) - set(names_read()) == set()


def test_nothing_is_said_twice():
    assert len(names_explained()) == len(set(names_explained()))


def test_the_promised_variables_are_all_there():
    assert set(names_explained()) >= PROMISED


@pytest.mark.parametrize("name", names_explained())
def test_a_comment_above_it_explains_the_variable(name):
    index = next(number for number, line in enumerate(EXAMPLE) if line.startswith(f"{name}="))

    above = EXAMPLE[index - 1]

    assert re.match(r"# \w", above), f"{name} has no comment above it."


def test_the_settings_read_the_environment_in_one_place_only():
    for app in ("payments", "shop"):
        for path in (ROOT / app).rglob("*.py"):
            if path.name not in ("settings.py", "asgi.py", "wsgi.py"):
                assert "environ" not in path.read_text(), path


def test_a_missing_secret_key_is_told_loudly(run):
    result = run("manage.py", "check", ENV_FILE=os.devnull)

    assert result.returncode != 0
    assert "SECRET_KEY" in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("DEBUG", "perhaps"), ("QUOTE_MINUTES", "a while"), ("UNDERPAYMENT_TOLERANCE", "some")],
)
def test_nonsense_is_told_with_the_name_of_its_variable(run, name, value):
    result = run("manage.py", "check", **{name: value})

    assert result.returncode != 0
    assert name in result.stderr


def test_the_example_runs_as_it_is(run):
    result = run("manage.py", "check", "--fail-level", "WARNING")

    assert result.returncode == 0, result.stderr


def test_a_shop_without_a_word_about_debug_runs_without(settings_under):
    values = {"ENV_FILE": os.devnull, "SECRET_KEY": "x" * 50, "SITE_URL": "https://shop.example"}

    found = settings_under("DEBUG", "SANDBOX", "BLOCKONOMICS_URL", "BITCOIN_NETWORK", **values)

    assert found == {
        "DEBUG": False,
        "SANDBOX": False,
        "BLOCKONOMICS_URL": "https://www.blockonomics.co",
        "BITCOIN_NETWORK": "main",
    }


def test_two_secrets_stand_while_one_replaces_the_other(settings_under):
    found = settings_under(
        "BLOCKONOMICS_CALLBACK_SECRETS", BLOCKONOMICS_CALLBACK_SECRET="new-one, old-one,"
    )

    assert found == {"BLOCKONOMICS_CALLBACK_SECRETS": ["new-one", "old-one"]}


# Production


def test_production_values_pass_every_check(run):
    result = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **production())

    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout


def test_production_shows_no_sandbox_and_no_tracebacks(settings_under):
    found = settings_under("DEBUG", "SANDBOX", "INSTALLED_APPS", **production())

    assert not found["DEBUG"]
    assert not found["SANDBOX"]
    assert not {"sandbox", "demo"} & set(found["INSTALLED_APPS"])


def test_https_switches_on_what_belongs_to_it(settings_under):
    found = settings_under(
        "SECURE_SSL_REDIRECT",
        "SECURE_HSTS_SECONDS",
        "SESSION_COOKIE_SECURE",
        "CSRF_COOKIE_SECURE",
        "CONTENT_SECURITY_POLICY",
        **production(),
    )

    policy = found.pop("CONTENT_SECURITY_POLICY")
    assert all(found.values())
    assert "connect-src 'self' wss://shop.example.com wss://www.blockonomics.co" in policy
    assert "ws://" not in policy


def test_http_leaves_it_off(settings_under):
    found = settings_under("SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "SESSION_COOKIE_SECURE")

    assert not any(found.values())


def test_a_visitor_cannot_claim_to_come_by_https(settings_under):
    with_proxy = settings_under("SECURE_PROXY_SSL_HEADER", BEHIND_PROXY="true")

    assert with_proxy == {"SECURE_PROXY_SSL_HEADER": ["HTTP_X_FORWARDED_PROTO", "https"]}
    assert (
        "AttributeError"
        in pytest.raises(AssertionError, settings_under, "SECURE_PROXY_SSL_HEADER").exconly()
    )


# The databases


def test_sqlite_lets_writers_queue_and_survives_a_power_cut(run):
    program = """
import django, json
django.setup()
from django.db import connection, transaction
with connection.cursor() as cursor:
    pragmas = {}
    for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys"):
        pragmas[name] = cursor.execute(f"PRAGMA {name}").fetchone()[0]
statements = []
connection.connection.set_trace_callback(statements.append)
with transaction.atomic():
    pass
print(json.dumps({**pragmas, "begins": statements[0]}))
"""

    result = run("-c", program, DJANGO_SETTINGS_MODULE="shop.settings")

    full = 2
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {
        "journal_mode": "wal",
        "synchronous": full,
        "busy_timeout": 20_000,
        "foreign_keys": 1,
        "begins": "BEGIN IMMEDIATE",
    }


def test_postgresql_is_reached_through_a_pool(settings_under):
    found = settings_under("DATABASES", DATABASE_URL="postgres://shop:word@database/shop")

    database = found["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert database["CONN_MAX_AGE"] == 0
    assert database["OPTIONS"]["pool"]["max_size"] >= 10


def test_redis_serves_the_cache_and_the_channels(settings_under):
    url = "redis://cache:6379/0"

    found = settings_under("CACHES", "CHANNEL_LAYERS", REDIS_URL=url)

    assert found["CACHES"]["default"]["LOCATION"] == url
    assert found["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"] == [url]
    assert "RedisPubSub" in found["CHANNEL_LAYERS"]["default"]["BACKEND"]


# The versions


def requirements(file: str) -> dict[str, Requirement]:
    lines = (ROOT / file).read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]
    return {requirement.name.lower(): requirement for requirement in found}


ALL_REQUIREMENTS = {**requirements("requirements-dev.txt"), **requirements("requirements.txt")}


@pytest.mark.parametrize("name", ALL_REQUIREMENTS)
def test_a_requirement_is_pinned_to_the_version_that_is_tested(name):
    (pin,) = ALL_REQUIREMENTS[name].specifier

    assert pin.operator == "=="
    assert Version(metadata.version(name)) == Version(pin.version)


@pytest.mark.parametrize(
    ("name", "floor", "ceiling"),
    [("django", "5.2.14", "5.3"), ("asgiref", "3.13", "4"), ("daphne", "4.2.2", "5")],
)
def test_a_version_is_not_below_the_floor_that_was_measured(name, floor, ceiling):
    (pin,) = requirements("requirements.txt")[name].specifier

    assert Version(floor) <= Version(pin.version) < Version(ceiling)


def test_no_requirement_stands_twice():
    shop, tests = requirements("requirements.txt"), requirements("requirements-dev.txt")

    assert set(shop) & set(tests) == set()
