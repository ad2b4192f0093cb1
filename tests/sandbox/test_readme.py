"""The README: what it says is not here is not here, and nothing is left out."""

import re
from pathlib import Path

import pytest
from django.urls import reverse

import sandbox

README = (Path(sandbox.__file__).parent / "README.md").read_text()
ABSENT = README.partition("## What is not here")[2]
DOORS = re.findall(r"`(/[\w/.-]+)", ABSENT)


@pytest.mark.parametrize(
    "word",
    [
        *["Bitcoin Cash", "payment buttons", "order hook", "temporary wallets", "USDT"],
        *["/api/monitor_tx", "/api/temp_wallet", "/api/temp_withdraw_request"],
        *["/api/create_temp_product", "/api/create_child_product", "/api/merchant_orders"],
        *["/api/address", "/api/update_callback", "/api/stores", "/api/merchant_logs"],
        *["/js/web3-payment.js", "/js/pay-button.js", "/js/pay_widget.js", "/invoicecreate/"],
        *["/api/v2/payments", "/api/op_return", "/api/test_callback", "Test Bench"],
    ],
)
def test_what_is_left_out_is_named(word):
    assert word in ABSENT


@pytest.mark.django_db
@pytest.mark.parametrize("door", DOORS)
def test_a_door_that_is_said_to_be_missing_is_missing(client, door):
    response = client.get(reverse("sandbox:wallet") + door.removeprefix("/"))

    assert response.status_code == 404
    if door.startswith("/api/"):
        assert response.json() == {"message": "Call not found"}
