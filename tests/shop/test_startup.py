"""A server with wrong settings refuses to start; a sender's name may be written as people do."""

import subprocess
import sys
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from django.core import mail
from django.core.mail import EmailMessage

from benchmarks import shop
from payments import notifications
from payments.models import Mail

ROOT = Path(__file__).parents[2]
SERVERS = {
    "daphne": ["-m", "daphne", "-b", "127.0.0.1", "-p", "0", "shop.asgi:application"],
    "wsgi": ["-c", "import shop.wsgi"],
}


@pytest.fixture
def run(tmp_path):
    """What Python says under these settings of a real shop."""

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=shop.environment(tmp_path, **environment),
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.mark.parametrize("server", SERVERS)
def test_it_refuses_the_demos_key_and_an_empty_secret(run, server):
    example = (ROOT / ".env.example").read_text().splitlines()
    known = next(line for line in example if line.startswith("SECRET_KEY=")).partition("=")[2]

    refused = run(*SERVERS[server], SECRET_KEY=known, BLOCKONOMICS_CALLBACK_SECRET="")

    assert refused.returncode == 1
    assert "does not start" in refused.stderr
    for id in ("payments.E001", "payments.E008"):
        assert id in refused.stderr
    assert "Set your own" in refused.stderr
    assert known not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_with_sound_settings_it_loads(run):
    assert run(*SERVERS["wsgi"]).returncode == 0


@pytest.mark.django_db
@pytest.mark.parametrize("staging", [True, False])
def test_a_shop_to_try_things_with_says_so_on_every_page(client, settings, staging):
    settings.STAGING, settings.SANDBOX = staging, False

    assert ("nothing here is real money" in client.get("/").content.decode()) == staging


# The sender


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("shop@example.com", ""),
        ("Himalaya Prints <shop@example.com>", "Himalaya Prints"),
        ("Müller, Söhne <shop@example.com>", "Müller, Söhne"),
        ("Bits, Bytes and More <shop@example.com>", "Bits, Bytes and More"),
        ('"Bits, Bytes" <shop@example.com>', "Bits, Bytes"),
    ],
)
def test_a_senders_name_is_written_as_people_write_it(run, settings, given, name):
    program = "from shop import settings; print(settings.DEFAULT_FROM_EMAIL)"
    settings.DEFAULT_FROM_EMAIL = run("-c", program, EMAIL_FROM=given).stdout.strip()

    EmailMessage("Hello", "you", to=["you@example.com"]).send()

    sent = message_from_bytes(mail.outbox[0].message().as_bytes(), policy=policy.default)
    (sender,) = sent["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (name, "shop@example.com")


def test_a_shoppers_answer_goes_where_the_merchant_says(settings, invoice, call_back):
    settings.EMAIL_REPLY_TO = "help@example.com"
    notifications.subscribe(invoice, "buyer@example.com")
    call_back(invoice)

    answers = {letter.kind: notifications.message(letter).reply_to for letter in Mail.objects.all()}

    assert answers == {"created": ["help@example.com"], "paid": ["help@example.com"], "sold": []}
