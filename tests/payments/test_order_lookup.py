"""Finding an order again: an address that is given later, and the look-up by code and address."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from payments.forms import EmailForm
from payments.models import Invoice, Mail

SHOPPER = "buyer@example.com"
NO_ADDRESSES = [
    "nobody",
    "a@b",
    "a b@example.com",
    "buyer@example.com\nBcc: crowd@example.com",
    "buyer@example.com\r\nBcc: crowd@example.com",
    "buyer@example.com, crowd@example.com",
    "buyer@example.com;crowd@example.com",
    "<buyer@example.com>",
    '"a,b"@example.com',
    '"\x01"@example.com',
    "buyer@example.com\x00",
    "büro@example.com",
    "\u212a@example.com",
    f"{'a' * 250}@example.com",
]


@pytest.fixture
def invoice(make_invoice):
    return make_invoice(email=SHOPPER)


def door(invoice):
    return f"{invoice.get_absolute_url()}email/"


# An address that is given later


def test_an_address_on_the_invoice_page_gets_the_link(make_invoice, client):
    quiet = make_invoice()
    assert f'action="{door(quiet)}"' in client.get(quiet.get_absolute_url()).content.decode()

    response = client.post(door(quiet), {"email": f" {SHOPPER} "}, follow=True)

    assert response.redirect_chain == [(quiet.get_absolute_url(), 302)]
    assert Invoice.objects.get().email == SHOPPER
    assert Mail.objects.get().kind == "created"
    page = response.content.decode()
    assert "b…@example.com" in page and SHOPPER not in page
    assert door(quiet) not in page


def test_the_address_that_was_given_first_stays(invoice, client):
    response = client.post(door(invoice), {"email": "other@example.com"})

    assert response["Location"] == invoice.get_absolute_url()
    assert Invoice.objects.get().email == SHOPPER
    assert not Mail.objects.exists()


def test_an_invoice_page_names_no_origin_and_is_answered_all_the_same(make_invoice):
    quiet = make_invoice()
    browser = Client(enforce_csrf_checks=True, headers={"origin": "null"})

    assert browser.post(door(quiet), {"email": SHOPPER}).status_code == 302
    assert Invoice.objects.get().email == SHOPPER


@pytest.mark.parametrize("typed", [*NO_ADDRESSES, "", None])
def test_what_is_no_address_is_asked_for_again_and_kept_out_of_the_url(make_invoice, client, typed):
    quiet = make_invoice()

    response = client.post(door(quiet), {"email": typed} if typed is not None else {})
    page = client.get(response["Location"])

    assert response["Location"] == f"{quiet.get_absolute_url()}?email=invalid"
    assert b'id="email-error"' in page.content
    assert b'aria-describedby="email-error"' in page.content
    assert Invoice.objects.get().email == ""
    assert not Mail.objects.exists()
    assert b"email-error" not in client.get(quiet.get_absolute_url()).content


def test_what_was_typed_is_there_to_be_mended(make_invoice, client):
    quiet = make_invoice()

    response = client.post(door(quiet), {"email": 'buyer@exam"ple.com'}, follow=True)

    assert b'value="buyer@exam&quot;ple.com"' in response.content


@pytest.mark.parametrize("typed", NO_ADDRESSES)
def test_no_header_and_no_second_receiver_can_be_smuggled_in(typed):
    assert not EmailForm({"email": typed}).is_valid()


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("buyer+shop@example.co.uk", "buyer+shop@example.co.uk"),
        ("o'neil@example.com", "o'neil@example.com"),
        ("buyer@bücher.example", "buyer@xn--bcher-kva.example"),
    ],
)
def test_ordinary_addresses_are_taken(typed, kept):
    form = EmailForm({"email": typed})

    assert form.is_valid()
    assert form.cleaned_data["email"] == kept


def test_a_wrong_key_opens_no_door(invoice, client):
    answers = {
        client.post(f"/payments/invoice/{key}/email/", {"email": SHOPPER}).content
        for key in ("x" * 32, "y" * 32, "short")
    }

    assert len(answers) == 1
    assert client.post(f"/payments/invoice/{'x' * 32}/email/").status_code == 404
    assert client.get(door(invoice)).status_code == 405


def test_the_door_for_addresses_is_limited(make_invoice, client, settings):
    settings.LIMITS = settings.LIMITS | {"e-mails": "2/hour"}
    quiet = make_invoice()

    codes = [client.post(door(quiet), {"email": "nobody"}).status_code for _ in range(3)]

    assert codes == [302, 302, 429]


# By code and address


@pytest.fixture
def look_up(client):
    def look_up(code, email, client=client):
        return client.post("/find/", {"code": code, "email": email})

    return look_up


def test_the_form_is_there_and_leads_nowhere_by_itself(client, db):
    response = client.get("/find/")

    assert response.status_code == 200
    assert b'role="alert"' not in response.content
    assert b'href="/find/"' in response.content


@pytest.mark.parametrize("dress", ["{0}-{1}", "{0}{1}", "{0} {1}", " {0}–{1} ", "#{0}_{1}"])
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_code_and_address_lead_to_the_order(invoice, look_up, dress, case):
    code = case(dress.format(invoice.order_code[:4], invoice.order_code[4:]))

    for email in (SHOPPER, SHOPPER.upper(), f" {SHOPPER} "):
        response = look_up(code, email)
        assert (response.status_code, response["Location"]) == (302, invoice.get_absolute_url())


def without_what_was_typed(response):
    page = response.content.decode()
    return re.sub(r'value="[^"]*"', "value", page)


def test_nobody_learns_which_of_the_two_is_wrong(invoice, make_invoice, look_up):
    silent = make_invoice()
    guesses = [
        (invoice.order, "other@example.com"),
        ("2222-2222", SHOPPER),
        ("2222-2222", "other@example.com"),
        (silent.order, SHOPPER),
    ]

    answers = [look_up(code, email) for code, email in guesses]

    assert {answer.status_code for answer in answers} == {404}
    assert len({without_what_was_typed(answer) for answer in answers}) == 1
    assert "no order with this code and this e-mail address" in answers[0].content.decode()
    for answer in answers:
        assert "no-store" in answer["Cache-Control"]
        for key in (invoice.key, silent.key):
            assert key not in answer.content.decode()


def test_each_guess_asks_the_same_of_the_database(invoice, look_up):
    asked = set()
    for code, email in [(invoice.order, "o@example.com"), ("2222-2222", SHOPPER), ("?", SHOPPER)]:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            look_up(code, email)
        asked.add(len(queries))

    assert asked == {1}


@pytest.mark.parametrize("email", ["", "%", "%@%", "_____@example.com", "buyer@example.c%"])
def test_wild_cards_are_no_address(invoice, look_up, email):
    assert look_up(invoice.order, email).status_code == 404


@pytest.mark.parametrize("code", ["", "%", "________", "\x00", "2" * 41, "-", "ßßßß"])
def test_an_odd_code_is_none(invoice, look_up, code):
    assert look_up(code, SHOPPER).status_code == 404


@pytest.mark.parametrize(("code", "email"), [("", SHOPPER), ("2222-2222", "nobody")])
def test_a_field_that_is_wrong_says_so(db, look_up, code, email):
    page = look_up(code, email).content.decode()

    assert page.count('aria-invalid="true"') == 1
    assert 'class="error"' in page


def test_what_was_typed_stays_in_the_form_as_text(db, look_up):
    page = look_up('<i>"2222', SHOPPER).content.decode()

    assert 'value="&lt;i&gt;&quot;2222"' in page
    assert f'value="{SHOPPER}"' in page


def test_guessing_is_limited_and_looking_at_the_form_is_not(invoice, client, look_up, settings):
    settings.LIMITS = settings.LIMITS | {"look-ups": "2/hour"}

    codes = [look_up("2222-2222", SHOPPER).status_code for _ in range(3)]

    assert codes == [404, 404, 429]
    assert look_up(invoice.order, SHOPPER).status_code == 429
    assert client.get("/find/").status_code == 200


def test_the_form_needs_its_csrf_token(invoice, look_up):
    strict = Client(enforce_csrf_checks=True)

    assert look_up(invoice.order, SHOPPER, client=strict).status_code == 403
