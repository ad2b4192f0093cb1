"""In which language the shop speaks, and that it speaks each of them wholly."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.mofile import read_mo
from django.conf import settings
from django.template.base import Lexer, TokenType
from django.test import Client
from django.utils import translation

from payments import notifications
from payments.bitcoin import BITCOIN
from payments.models import Invoice, Mail
from payments.providers.base import MarketPrice
from payments.templatetags.money import approximate, fiat
from shop import translations as catalogues

ROOT = Path(settings.BASE_DIR)
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
# Written in every language alike, or read by programs.
NO_WORDS = {"BTC", "bitcoin"}
TOLD = {"alt", "aria-label", "placeholder", "title"}


def vary(response) -> set[str]:
    return {name.strip().lower() for name in response.get("Vary", "").split(",") if name.strip()}


def language_of(response) -> str:
    return re.search(r'<html lang="([\w-]+)"', response.content.decode())[1]


# The catalogues


@pytest.fixture(scope="module")
def sources():
    return catalogues.in_the_sources()


@pytest.fixture(scope="module", params=catalogues.LANGUAGES)
def catalogue(request):
    return catalogues.translated(request.param)


def key(message):
    return message.context, catalogues.forms(message.id)


def ask_of(names) -> str:
    return f"`make translations`, then translate: {sorted(map(str, names))[:5]}"


def test_there_is_a_catalogue_for_each_language():
    assert {"en", *catalogues.LANGUAGES} == {code for code, _ in settings.LANGUAGES}


def test_texts_of_code_and_templates_are_found(sources):
    places = {place.partition("/")[0] for message in sources for place, _ in message.locations}

    assert {"payments", "templates"} <= places
    assert "Skip to the content" in sources
    assert "The bitcoin payment service does not answer at the moment." in sources
    assert any(isinstance(message.id, tuple) for message in sources)


def test_a_catalogue_has_every_text_and_no_other(sources, catalogue):
    wanted = {key(message) for message in sources if message.id}
    there = {key(message) for message in catalogue if message.id}

    assert wanted - there == set(), ask_of(wanted - there)
    assert there - wanted == set(), ask_of(there - wanted)


def test_every_text_is_translated(catalogue):
    missing = [message.id for message in catalogue if not catalogues.is_translated(message)]
    fuzzy = [message.id for message in catalogue if message.id and message.fuzzy]

    assert missing == [], ask_of(missing)
    assert fuzzy == []


def test_translations_keep_what_is_filled_in(catalogue):
    for message in catalogue:
        assert list(message.check(catalogue)) == [], message.id
        expected = [filled_in(text) for text in catalogues.forms(message.id)]
        for form in filter(None, catalogues.forms(message.string)):
            assert filled_in(form) in expected or not message.id, (message.id, form)


def filled_in(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)\w|\{\w*\}|</?\w+", text))


def test_translations_keep_a_number_with_its_unit(catalogue):
    """With a no-break space, and in the quotes of the language: not in those of typewriters."""
    for message in catalogue:
        for form in catalogues.forms(message.string) if message.id else ():
            assert not re.search(r"\)s (BTC|%%)|[\"']", form), form


@pytest.mark.parametrize("language", catalogues.LANGUAGES)
def test_the_shop_reads_what_was_translated(language):
    catalogue = catalogues.translated(language)
    with catalogues.po_file(language).with_suffix(".mo").open("rb") as file:
        compiled = read_mo(file)

    def said(catalogue):
        return {
            key(message): catalogues.forms(message.string) for message in catalogue if message.id
        }

    ready = {
        key(message) for message in catalogue if message.id and catalogues.is_translated(message)
    }
    original, read = said(catalogue), said(compiled)
    assert read.keys() <= original.keys(), "`make translations` compiles them."
    assert {name: read.get(name) for name in ready} == {name: original[name] for name in ready}


# Nothing is said past the catalogues


class Texts(HTMLParser):
    """What a person reads of a page or has read out."""

    def __init__(self):
        super().__init__()
        self.found, self.silent = [], 0

    def handle_starttag(self, tag, attributes):
        self.silent += tag in ("script", "style")
        self.found += [value for name, value in attributes if name in TOLD and value]

    def handle_endtag(self, tag):
        self.silent -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.silent:
            self.found.append(data)


def untranslated(source: str) -> list[str]:
    """The words of a template that stand outside of translate and blocktranslate."""
    plain, inside = [], False
    for token in Lexer(source).tokenize():
        name = (token.contents.split() or [""])[0]
        if token.token_type == TokenType.BLOCK and name in ("blocktranslate", "comment"):
            inside = True
        elif token.token_type == TokenType.BLOCK and name in ("endblocktranslate", "endcomment"):
            inside = False
        elif token.token_type == TokenType.TEXT and not inside:
            plain.append(token.contents)
        elif not inside:
            plain.append(" ")
    texts = Texts()
    texts.feed("".join(plain))
    found = re.findall(r"(?<!\w)[^\W\d_]{2,}(?!\w)", "\n".join(texts.found))
    return [word for word in found if word not in NO_WORDS]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_says_nothing_untranslated(path):
    assert untranslated(path.read_text()) == []


def test_what_is_untranslated_would_be_found():
    source = '{% translate "Pay" %} now <img alt="at once"> {{ total }} {# done #} 7K3M-QX2P'

    assert sorted(untranslated(source)) == ["at", "now", "once"]


# Which language


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("es-MX", "es"),
        ("fr-FR, es;q=0.5", "es"),
        ("fr-FR,fr", "en"),
        ("", "en"),
        ("*", "en"),
        ("de;q=nonsense,,;" + "x" * 600, "en"),
    ],
)
def test_a_page_is_in_the_language_that_the_browser_asks_for(client, db, asked, language):
    page = client.get("/", headers={"Accept-Language": asked})

    assert language_of(page) == language
    assert page["Content-Language"] == language
    assert {"accept-language", "cookie"} <= vary(page)


def test_the_visitors_choice_counts_more(client, db):
    answer = client.post("/language/", {"language": "es", "next": "/basket/"})

    assert (answer.status_code, answer["Location"]) == (302, "/basket/")
    cookie = answer.cookies[settings.LANGUAGE_COOKIE_NAME]
    assert (cookie["samesite"], cookie["httponly"]) == ("Lax", True)
    assert language_of(client.get("/", headers={"Accept-Language": "de"})) == "es"


def test_each_page_has_the_switch_and_leads_back_to_itself(client, db):
    page = client.get("/?q=mountain&sort=newest").content.decode()

    form = re.search(r'<form class="languages".*?</form>', page, re.DOTALL)[0]
    assert 'action="/language/"' in form
    assert 'value="/?q=mountain&amp;sort=newest"' in form
    assert re.findall(r'value="(\w\w)" lang="(\w\w)"', form) == [
        (code, code) for code, _ in settings.LANGUAGES
    ]
    assert re.findall(r'value="(\w\w)"[^>]*aria-current', form) == ["en"]


@pytest.mark.parametrize("language", [code for code, _ in settings.LANGUAGES])
def test_each_language_is_called_by_its_own_name(client, db, language):
    page = client.get("/", headers={"Accept-Language": language}).content.decode()

    form = re.search(r'<form class="languages".*?</form>', page, re.DOTALL)[0]
    assert re.findall(r"<button[^>]*>([^<]+)<", form) == [name for _, name in settings.LANGUAGES]


def test_it_works_from_an_invoice_page_which_tells_nobody_where_it_is(invoice):
    """Browsers send `Origin: null` from there; everybody else is checked."""
    browser = Client(enforce_csrf_checks=True, headers={"Origin": "null"})
    path = invoice.get_absolute_url()

    answer = browser.post("/language/", {"language": "de", "next": path})

    assert (answer.status_code, answer["Location"]) == (302, path)
    assert language_of(browser.get(path)) == "de"
    assert browser.post("/basket/1/").status_code == 403


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "\x00",
        "",
    ],
)
def test_it_leads_to_no_other_site(client, db, elsewhere):
    answer = client.post("/language/", {"language": "de", "next": elsewhere})

    assert answer["Location"] == "/"


def test_a_language_that_there_is_not_changes_nothing(client, db):
    for nonsense in ("xx", "../../etc", "fr", ""):
        client.post("/language/", {"language": nonsense, "next": "/"})

    assert language_of(client.get("/")) == "en"


def test_looking_at_the_door_does_nothing(client, db):
    answer = client.get("/language/?next=https://evil.example/&language=de")

    assert answer.status_code == 405


def test_a_page_that_only_a_form_can_ask_for_is_left(client, db):
    refused = client.post("/payments/create/999/")

    assert refused.status_code == 404
    assert '<input type="hidden" name="next" value="/">' in refused.content.decode()


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "quantity: Enter a whole number."),
        ("de", "Anzahl: Bitte eine ganze Zahl eingeben."),
        ("es", "Cantidad: Introduzca un número entero."),
    ],
)
def test_what_was_wrong_is_said_in_the_visitors_language(client, product, language, words):
    browser = {"Accept": "text/html", "Accept-Language": language}

    page = client.post(f"/basket/{product.pk}/", {"quantity": "many"}, headers=browser)

    assert page.status_code == 400
    assert f'<p class="notice">{words}</p>' in page.content.decode()


def test_unknown_invoices_are_equal_in_every_language(client, db):
    headers = {"Accept-Language": "de"}

    pages = {
        client.get(f"/payments/invoice/{key}/", headers=headers).content
        for key in ("A" * 32, "B" * 32, "short")
    }

    assert len(pages) == 1


# What has one language only


def test_programs_are_answered_alike_in_every_language(client, invoice, call_back):
    german = {"Accept-Language": "de", "Cookie": "language=de"}
    status = client.get(f"{invoice.get_absolute_url()}status/", headers=german)
    health = client.get("/healthz", headers=german)
    callback = client.get("/payments/callback/blockonomics?secret=wrong", headers=german)

    for answer in (status, health, callback):
        assert "accept-language" not in vary(answer)
        assert "Content-Language" not in answer
        assert not answer.cookies
    assert status.json()["total"] == "10.00"


@pytest.mark.parametrize("path", ["/admin/login/", "/sandbox/"])
def test_desk_and_sandbox_speak_english(client, db, path):
    page = client.get(path, headers={"Accept-Language": "de"})

    assert 'lang="en' in page.content.decode()
    assert "accept-language" not in vary(page)


# Numbers and money


@pytest.mark.parametrize(
    ("language", "price", "large"),
    [
        ("en", "10.00\xa0USD", "1,234,567.50\xa0EUR"),
        ("de", "10,00\xa0USD", "1.234.567,50\xa0EUR"),
        ("es", "10,00\xa0USD", "1\xa0234\xa0567,50\xa0EUR"),
    ],
)
def test_money_is_written_as_the_language_has_it(language, price, large):
    with translation.override(language):
        assert fiat(Decimal("10")) == price
        assert fiat(Decimal("1234567.495"), "EUR") == large


@pytest.mark.parametrize("language", ["en", "de", "es"])
def test_bitcoin_is_written_as_wallets_read_it(language):
    with translation.override(language):
        assert BITCOIN.format(123_456_700_010_000) == "1234567.00010000"
        assert (
            approximate(Decimal("12.34"), MarketPrice(Decimal(100_000), BITCOIN)) == "0.000123 BTC"
        )


@pytest.mark.parametrize("language", ["en", "de", "es"])
def test_what_is_copied_from_an_invoice_is_the_same_in_every_language(client, invoice, language):
    page = client.get(invoice.get_absolute_url(), headers={"Accept-Language": language})

    text = page.content.decode()
    assert "0.00010000" in text
    assert "amount=0.0001" in text
    assert "0,0001" not in text
    assert ("10,00\xa0USD" if language != "en" else "10.00\xa0USD") in text


@pytest.mark.parametrize("language", ["de", "es"])
def test_what_programs_read_in_a_page_is_in_no_language(client, product, language):
    headers = {"Accept-Language": language}
    pages = [client.get(path, headers=headers) for path in (product.get_absolute_url(), "/")]

    for page in pages:
        numbers = re.findall(r'(?:content|data-[\w-]+|value)="(\d+[.,]\d+)"', page.content.decode())
        assert not [number for number in numbers if "," in number]


# Mail


@pytest.mark.parametrize(
    ("language", "subject", "total", "noted"),
    [
        ("de", "Ihre Bestellung {order} ist bezahlt", "10,00\xa0USD", "0.00010000\xa0BTC"),
        ("es", "Su pedido {order} está pagado", "10,00\xa0USD", "0.00010000\xa0BTC"),
        ("en", "Your order {order} is paid", "10.00\xa0USD", "0.00010000 BTC"),
    ],
)
def test_mails_come_in_the_language_that_was_bought_in(
    client, product, service, call_back, language, subject, total, noted
):
    client.post(
        f"/payments/create/{product.pk}/",
        {"email": "shopper@example.com"},
        headers={"Accept-Language": language},
    )
    invoice = Invoice.objects.get()
    call_back(invoice)

    kinds = invoice.mails.filter(to="shopper@example.com").values_list("kind", flat=True)
    assert set(kinds) == {Mail.Kind.CREATED, Mail.Kind.PAID}
    message = notifications.message(invoice.mails.get(kind=Mail.Kind.PAID))
    page = message.alternatives[0][0]

    assert message.subject == subject.format(order=invoice.order)
    for text in (message.body, page):
        assert total in text
        assert noted in text
    assert f'<html lang="{language}"' in page


@pytest.mark.parametrize("kind", sorted(set(Mail.Kind) - Mail.FOR_THE_MERCHANT))
@pytest.mark.parametrize("language", catalogues.LANGUAGES)
def test_no_mail_falls_back_to_english(invoice, language, kind):
    def said():
        mail = Mail.objects.get_or_create(invoice=invoice, kind=kind)[0]
        return set(re.findall(r"[^.:;!?\n]{12,}[.:;!?]", notifications.message(mail).body))

    Invoice.objects.update(language="en")
    english = said()
    Invoice.objects.update(language=language)

    assert english
    assert not english & said()


# Dates


@pytest.mark.parametrize(
    ("language", "day"),
    [
        ("en", "Jan. 3, 2026, 2:05 p.m. UTC"),
        ("de", "3. Januar 2026, 14:05 UTC"),
        ("es", "3 de enero de 2026, 14:05 UTC"),
    ],
)
def test_dates_are_written_as_the_language_has_them(client, make_invoice, language, day):
    paid_at = datetime(2026, 1, 3, 14, 5, tzinfo=UTC)
    invoice = make_invoice(paid_at=paid_at, settlement=Invoice.Settlement.PAID)

    page = client.get(
        f"{invoice.get_absolute_url()}receipt/", headers={"Accept-Language": language}
    )

    assert day in page.content.decode()
