"""How long a browser is known: a shopper for half a year, a merchant for two weeks."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User


@pytest.fixture
def log_in(client, db):
    """What the form of the desk does; every user is a merchant here."""

    def log_in(name="merchant"):
        if not User.objects.filter(username=name).exists():
            User.objects.create_superuser(name, password="a long password")
        form = {"username": name, "password": "a long password"}
        return client.post("/admin/login/", form)

    return log_in


def age(client, name) -> timedelta:
    return timedelta(seconds=client.cookies[name]["max-age"])


def test_a_shopper_is_known_for_half_a_year(client, product, invoice):
    client.post(f"/basket/{product.pk}/")
    client.get(invoice.get_absolute_url())

    for name in ("visitor", f"purchase-{invoice.pk}", "purchases"):
        assert age(client, name) == timedelta(days=180)
    assert "sessionid" not in client.cookies


def test_a_login_to_the_desk_ends_after_two_weeks(client, product, log_in):
    client.post(f"/basket/{product.pk}/")

    assert log_in().status_code == 302

    assert age(client, "sessionid") == timedelta(days=14)
    assert client.get("/admin/").status_code == 200
    assert "Mountain" in client.get("/basket/").content.decode()


def test_who_logs_out_is_a_shopper_again(client, product, log_in):
    client.post(f"/basket/{product.pk}/")
    log_in()

    client.post("/admin/logout/")

    assert "Mountain" in client.get("/basket/").content.decode()


# Whoever tries passwords


@pytest.fixture
def guess(client, db):
    def guess(password="a guess", **more):
        form = {"username": "merchant", "password": password}
        return client.post("/admin/login/", form, **more)

    return guess


def test_a_failed_login_is_written_down_without_the_password(guess, caplog):
    assert guess("a secret guess", REMOTE_ADDR="198.51.100.7").status_code == 200

    (line,) = [record.getMessage() for record in caplog.records if "login" in record.getMessage()]
    assert "'merchant'" in line and "198.51.100.7" in line
    assert "secret" not in caplog.text


def test_passwords_are_not_tried_by_the_thousand(guess, settings, log_in):
    settings.LIMITS = {"logins": "3/minute"}

    answers = [guess().status_code for _ in range(5)]

    assert answers == [200, 200, 200, 429, 429]
    assert log_in().status_code == 429  # not even the right one
    assert guess(REMOTE_ADDR="198.51.100.7").status_code == 200


def test_looking_at_the_form_is_not_counted(client, db, settings):
    settings.LIMITS = {"logins": "1/minute"}

    assert {client.get("/admin/login/").status_code for _ in range(4)} == {200}
