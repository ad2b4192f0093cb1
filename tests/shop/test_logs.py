"""What the log keeps to itself."""

import io
import logging
from urllib.parse import quote, quote_plus

import pytest
import requests

from payments import ingestion
from shop.logs import NoSecrets
from tests.conftest import SECRET, SERVICE

API_KEY = "demo-api-key"


@pytest.fixture
def written():
    """A log of its own, filtered as the shop's is: the logger's name, and what was written."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.addFilter(NoSecrets())
    logger = logging.getLogger("shop.of_this_test")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield logger, log.getvalue
    logger.removeHandler(handler)


@pytest.fixture
def whole_log():
    """All that the shop, Django and the libraries write, down to the last detail."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(NoSecrets())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield log.getvalue
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("secret", [SECRET, API_KEY])
def test_a_secret_in_a_line_is_blanked(written, secret):
    logger, log = written

    logger.info(f"GET /callback?secret={secret}&addr=1")

    assert log() == "GET /callback?secret=[secret]&addr=1\n"


@pytest.mark.parametrize("secret", [SECRET, API_KEY])
def test_a_secret_among_the_arguments_is_blanked(written, secret):
    logger, log = written

    logger.info("%s %d %r", secret, 1, {"key": secret})

    assert log() == "[secret] 1 {'key': '[secret]'}\n"


def test_the_signing_key_is_blanked(written, settings):
    logger, log = written

    logger.info("SECRET_KEY=%s", settings.SECRET_KEY)

    assert log() == "SECRET_KEY=[secret]\n"


def test_a_secret_that_is_replaced_is_blanked_like_its_successor(written, settings):
    settings.BLOCKONOMICS_CALLBACK_SECRETS = ["the-new-secret", "the-old-secret"]
    logger, log = written

    logger.info("the-new-secret the-old-secret")

    assert log() == "[secret] [secret]\n"


def test_a_secret_in_an_exception_is_blanked(written):
    logger, log = written

    try:
        raise ConnectionError(f"no answer from /api?secret={SECRET}")
    except ConnectionError as error:
        try:
            raise ValueError(f"key {API_KEY}") from error
        except ValueError:
            logger.exception("Trouble")

    assert "ConnectionError: no answer from /api?secret=[secret]" in log()
    assert "ValueError: key [secret]" in log()
    assert SECRET not in log()
    assert API_KEY not in log()


@pytest.mark.parametrize("spell", [quote_plus, lambda text: quote(text, safe=""), quote])
def test_a_secret_is_blanked_in_the_spelling_of_a_url(written, settings, spell):
    settings.BLOCKONOMICS_CALLBACK_SECRETS = ["a secret/with+signs=&ümlauts"]
    logger, log = written

    logger.info("GET /callback?secret=%s", spell(settings.BLOCKONOMICS_CALLBACK_SECRETS[0]))

    assert log() == "GET /callback?secret=[secret]\n"


@pytest.mark.parametrize("path", ["/payments/invoice/{}/status/", "/ws/invoices/{}/"])
def test_the_key_of_an_invoice_is_blanked(written, path):
    logger, log = written

    logger.warning("Not Found: %s", path.format("a-key_of-32-letters-which-opens1"))

    assert log() == f"Not Found: {path.format('[key]')}\n"


def test_a_refusal_on_an_invoices_page_does_not_write_its_key_down(client, invoice, whole_log):
    assert client.post(invoice.get_absolute_url()).status_code == 405
    assert client.get(f"{invoice.get_absolute_url()}receipt/").status_code == 404

    assert "/payments/invoice/[key]/receipt/" in whole_log()
    assert invoice.key not in "".join(
        line for line in whole_log().splitlines() if "django.request" in line
    )


def test_a_shop_without_secrets_logs_as_usual(written, settings):
    settings.BLOCKONOMICS_CALLBACK_SECRETS = []
    settings.BLOCKONOMICS_API_KEY = ""
    logger, log = written

    logger.info("%s pays %d satoshis", "Somebody", 1_000)

    assert log() == "Somebody pays 1000 satoshis\n"


def test_a_line_whose_arguments_do_not_fit_stops_nobody(written):
    logger, log = written

    logger.warning("%d satoshis", "many")
    logger.info("still here")

    assert log().endswith("still here\n")


def test_every_handler_that_may_hear_of_a_callback_blanks_secrets():
    """Django and its servers bring handlers of their own; pytest's are only here."""
    talkative = ("django", "daphne", "channels", "payments", "shop", "requests", "urllib3")
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in talkative]
    handlers = [
        handler
        for logger in [logging.root, *map(logging.getLogger, names)]
        for handler in logger.handlers
        if not isinstance(handler, logging.NullHandler)
        and not type(handler).__module__.startswith("_pytest")
    ]

    assert handlers
    for handler in handlers:
        assert any(isinstance(filter_, NoSecrets) for filter_ in handler.filters), handler


@pytest.mark.parametrize(
    ("secret", "status"), [("demo-callback-secre", 403), (f"{SECRET}x", 403), (None, 403)]
)
def test_a_wrong_secret_is_not_written_down(call_back, invoice, whole_log, secret, status):
    response = call_back(invoice, secret=secret)

    assert response.status_code == status
    assert "/payments/callback/blockonomics" in whole_log()
    assert "demo-callback" not in whole_log()


@pytest.mark.parametrize(("more", "status"), [({}, 200), ({"value": "lots"}, 400)])
def test_the_right_secret_is_not_written_down(call_back, invoice, whole_log, more, status):
    response = call_back(invoice, **more)

    assert response.status_code == status
    assert SECRET not in whole_log()


def test_a_crash_does_not_write_the_secret_down(call_back, invoice, whole_log, monkeypatch):
    def crash(*args, **kwargs):
        raise RuntimeError(f"no idea what to do with ?secret={SECRET} and {API_KEY}")

    monkeypatch.setattr(ingestion, "apply_report", crash)

    response = call_back(invoice)

    assert response.status_code == 503
    assert "RuntimeError: no idea what to do with ?secret=[secret]" in whole_log()
    assert SECRET not in whole_log()
    assert API_KEY not in whole_log()
    assert SECRET.encode() not in response.content


def test_a_service_out_of_reach_does_not_write_the_secrets_down(
    client, product, service, whole_log
):
    url = f"{SERVICE}/api/new_address?match_callback=secret%3D{SECRET}"
    trouble = requests.ConnectionError(f"no route to {url} with Bearer {API_KEY}")
    service.reset()
    service.add("GET", f"{SERVICE}/api/price", json={"price": 1})
    service.add("POST", f"{SERVICE}/api/new_address", body=trouble)

    response = client.post(f"/payments/create/{product.pk}/")

    assert response.status_code == 503
    assert "/api/new_address did not answer" in whole_log()
    assert SECRET not in whole_log()
    assert API_KEY not in whole_log()
