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


def age(client) -> timedelta:
    return timedelta(seconds=client.session.get_expiry_age())


def cookie_age(client) -> timedelta:
    return timedelta(seconds=client.cookies["sessionid"]["max-age"])


def test_a_shopper_is_known_for_half_a_year(client, product):
    client.post(f"/basket/{product.pk}/")

    assert age(client) == cookie_age(client) == timedelta(days=180)


def test_a_login_to_the_desk_ends_after_two_weeks(client, product, log_in):
    client.post(f"/basket/{product.pk}/")

    assert log_in().status_code == 302

    assert age(client) == cookie_age(client) == timedelta(days=14)
    assert client.get("/admin/").status_code == 200
    assert client.session["basket"] == {str(product.pk): 1}


def test_so_does_the_login_of_who_takes_over_a_browser(client, log_in):
    log_in("merchant")

    log_in("another")

    assert age(client) == timedelta(days=14)


def test_who_logs_out_is_a_shopper_again(client, product, log_in):
    log_in()
    client.post("/admin/logout/")

    client.post(f"/basket/{product.pk}/")

    assert age(client) == timedelta(days=180)


def test_a_failed_login_changes_nothing(client, product, db):
    client.post(f"/basket/{product.pk}/")

    client.post("/admin/login/", {"username": "merchant", "password": "a guess"})

    assert age(client) == timedelta(days=180)
