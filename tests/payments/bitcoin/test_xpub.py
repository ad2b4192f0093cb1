"""payments/bitcoin/xpub.py: which addresses are the merchant's own."""

import json
from html import unescape

import pytest
from django.test import Client
from django_tasks_db.models import DBTaskResult
from embit import base58, bip32, bip39, script
from embit.networks import NETWORKS
from hypothesis import given
from hypothesis import strategies as st

from payments.bitcoin import xpub as keys
from payments.models import Invoice, Lease
from payments.providers.blockonomics import checks
from tests.conftest import KEY, address

MAIN, TEST = NETWORKS["main"], NETWORKS["test"]
# The mnemonic and the first addresses that BIP84 prints; BIP49 and BIP44 use the same words.
ROOT = bip32.HDKey.from_seed(bip39.mnemonic_to_seed("abandon " * 11 + "about"))
ZPUB = (
    "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31m"
    "GDtKsAYz2oz2AGutZYs"
)
WINDOW = 20


def account(path: str, kind: str, network: dict = MAIN) -> str:
    return ROOT.derive(path).to_public().to_base58(version=network[kind])


def derived(path: str, write, network: dict = MAIN) -> str:
    return write(ROOT.derive(path).to_public()).address(network)


def nested(key):
    return script.p2sh(script.p2wpkh(key))


OWN = KEY.to_base58(version=TEST["zpub"])
ANOTHER = ROOT.derive("m/84h/1h/0h").to_public().to_base58(version=TEST["zpub"])


@pytest.fixture
def own_key(settings):
    settings.BLOCKONOMICS_XPUB = OWN
    settings.BLOCKONOMICS_XPUB_WINDOW = WINDOW


@pytest.fixture
def buy(client, product, service):
    def buy(given: str, **more):
        service.answers["new_address"] = (200, json.dumps({"address": given, **more}))
        return client.post(f"/payments/create/{product.pk}/")

    return buy


@pytest.mark.parametrize(
    ("xpub", "index", "known"),
    [
        # Printed in BIP84.
        (ZPUB, 0, "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"),
        (ZPUB, 1, "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g"),
        # Printed in BIP49, for the test network.
        (account("m/49h/1h/0h", "ypub", TEST), 0, "2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2"),
        # What every BIP44 wallet shows for the same words.
        (account("m/44h/0h/0h", "xpub"), 0, "1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA"),
        (account("m/49h/0h/0h", "ypub"), 0, "37VucYSaXLCAsxYyAPfbSi9eh4iEcbShgf"),
    ],
)
def test_the_known_vectors_are_found_where_they_are(xpub, index, known):
    assert keys.branch(xpub).index_of(known, WINDOW) == index


@pytest.mark.parametrize(
    ("kind", "path", "write", "network"),
    [
        ("xpub", "m/44h/0h/0h", script.p2pkh, MAIN),
        ("ypub", "m/49h/0h/0h", nested, MAIN),
        ("zpub", "m/84h/0h/0h", script.p2wpkh, MAIN),
        ("xpub", "m/44h/1h/0h", script.p2pkh, TEST),
        ("ypub", "m/49h/1h/0h", nested, TEST),
        ("zpub", "m/84h/1h/0h", script.p2wpkh, TEST),
    ],
    ids=["xpub", "ypub", "zpub", "tpub", "upub", "vpub"],
)
def test_each_kind_of_key_owns_its_receive_branch_and_nothing_else(
    kind, path, write, network, request
):
    xpub = account(path, kind, network)

    assert xpub.startswith(request.node.callspec.id)
    assert keys.owns(xpub, derived(f"{path}/0/7", write, network), WINDOW)
    assert not keys.owns(xpub, derived(f"{path}/1/7", write, network), WINDOW)
    assert not keys.owns(xpub, derived(f"{path[:-2]}1h/0/7", write, network), WINDOW)
    for other in {script.p2pkh, nested, script.p2wpkh} - {write}:
        assert not keys.owns(xpub, derived(f"{path}/0/7", other, network), WINDOW)


@pytest.mark.parametrize("network", ["test", "signet", "regtest"])
def test_a_key_for_play_money_goes_with_each_test_network(network):
    given = script.p2wpkh(KEY.derive([0, 3])).address(NETWORKS[network])

    assert keys.owns(OWN, given, WINDOW)
    assert keys.fits(OWN, network)
    assert not keys.fits(OWN, "main")


def test_the_window_ends_where_it_says():
    assert keys.owns(OWN, address(WINDOW - 1), WINDOW)
    assert not keys.owns(OWN, address(WINDOW), WINDOW)


def test_a_wider_window_that_was_asked_for_before_makes_no_difference():
    assert keys.owns(OWN, address(WINDOW + 5), WINDOW + 10)

    assert not keys.owns(OWN, address(WINDOW + 5), WINDOW)


@given(st.integers(0, WINDOW - 1))
def test_every_index_within_the_window_is_found(index):
    assert keys.branch(OWN).index_of(address(index), WINDOW) == index


@given(st.integers(0, WINDOW - 1), st.data())
def test_every_mutated_address_is_refused(index, data):
    own = address(index)
    place = data.draw(st.integers(0, len(own) - 1))
    letter = data.draw(
        st.sampled_from("023456789acdefghjklmnpqrstuvwxyz1bio").filter(lambda x: x != own[place])
    )

    assert not keys.owns(OWN, own[:place] + letter + own[place + 1 :], WINDOW)


@given(st.binary(min_size=32, max_size=64))
def test_no_other_keys_address_is_owned(seed):
    stranger = bip32.HDKey.from_seed(seed).derive("m/84h/1h/0h/0/0").to_public()

    assert not keys.owns(OWN, script.p2wpkh(stranger).address(TEST), WINDOW)


@pytest.mark.parametrize("text", ["", "address", "tb1q", "1" * 60, "€" * 30, "tb1p" + "q" * 58])
def test_what_is_no_address_is_not_owned(text):
    assert not keys.owns(OWN, text, WINDOW)


# What is no key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "xpubliced",
        OWN[:-1],
        OWN[:-1] + ("1" if OWN[-1] != "1" else "2"),
        ROOT.derive("m/84h/1h/0h").to_base58(version=TEST["zprv"]),
        base58.encode_check(MAIN["xpub"] + b"\0" * 20),
        "tb1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
    ],
)
def test_what_is_no_public_key_is_refused_without_repeating_it(text):
    with pytest.raises(keys.NotAKey) as refusal:
        keys.read(text)

    assert not text or text not in str(refusal.value)


def test_the_same_key_in_another_spelling_is_the_same():
    spellings = {KEY.to_base58(version=TEST[kind]) for kind in ("xpub", "ypub", "zpub")}

    assert len(spellings) == 3
    assert all(keys.is_same(one, other) for one in spellings for other in spellings)


def test_a_key_with_another_chain_code_is_another_key():
    """The point is the same, but not a single address."""
    forged = bip32.HDKey(KEY.key, b"\1" * 32, version=TEST["zpub"], depth=3)

    assert not keys.is_same(OWN, forged.to_base58(version=TEST["zpub"]))


@pytest.mark.parametrize("other", [ANOTHER, "", "nonsense", "x" * 5_000])
def test_another_key_is_not_the_same(other):
    assert not keys.is_same(OWN, other)


# At the shop's door


def test_an_address_of_the_merchants_own_is_shown(own_key, buy):
    response = buy(address(3))

    assert response.status_code == 302
    assert Invoice.objects.get().attempt.reference == address(3)


def test_a_foreign_address_is_refused_before_anybody_sees_it(own_key, buy, settings, caplog):
    foreign = derived("m/84h/1h/0h/0/0", script.p2wpkh, TEST)

    response = buy(foreign)

    page = unescape(response.content.decode())
    assert response.status_code == 502
    assert foreign not in page
    assert "an address that we do not trust, so it is not shown" in page
    assert not Invoice.objects.exists()
    assert foreign in caplog.text and OWN not in caplog.text


@pytest.mark.parametrize("branch", [[1, 0], [0, WINDOW]], ids=["change", "beyond the window"])
def test_what_the_wallet_would_not_find_is_refused(own_key, buy, branch):
    assert buy(script.p2wpkh(KEY.derive(branch)).address(TEST)).status_code == 502
    assert not Invoice.objects.exists()


def test_a_spare_address_was_checked_as_well(own_key, buy, service):
    service.answers["price"] = (500, "")
    assert buy(address(4)).status_code == 503
    service.answers["price"] = None

    buy(derived("m/84h/1h/0h/0/0", script.p2wpkh, TEST))

    assert Invoice.objects.get().attempt.reference == address(4)


@pytest.mark.parametrize("kind", ["xpub", "ypub", "zpub"])
def test_an_account_that_is_the_own_key_is_accepted_however_it_is_written(own_key, buy, kind):
    assert buy(address(3), account=KEY.to_base58(version=TEST[kind])).status_code == 302


def test_another_account_is_refused_even_with_an_address_of_ones_own(own_key, buy):
    response = buy(address(3), account=ANOTHER)

    assert response.status_code == 502
    assert not Invoice.objects.exists()
    assert DBTaskResult.objects.count() == 1


@pytest.mark.parametrize("account", [None, 5])
def test_an_answer_without_an_account_is_judged_by_its_address(own_key, buy, account):
    assert buy(address(3), account=account).status_code == 302


def test_without_a_key_nothing_is_checked(buy, settings):
    settings.BLOCKONOMICS_XPUB = ""

    assert buy(derived("m/84h/1h/0h/0/0", script.p2wpkh, TEST), account=ANOTHER).status_code == 302


def test_the_merchant_is_alarmed_once_an_hour(own_key, buy, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    foreign = [derived(f"m/84h/1h/0h/0/{index}", script.p2wpkh, TEST) for index in range(4)]
    buy(foreign[0])
    buy(foreign[1])
    time_machine.shift(3_599)
    buy(foreign[2])

    (alarm,) = DBTaskResult.objects.all()
    time_machine.shift(2)
    buy(foreign[3])

    assert foreign[0] in alarm.args_kwargs["args"][0]
    assert DBTaskResult.objects.count() == 2


def test_an_alarm_that_could_not_be_written_down_is_not_counted(own_key, buy, monkeypatch):
    def fails(text):
        raise RuntimeError("no room")

    with monkeypatch.context() as broken:
        broken.setattr("payments.outbox.alarm", fails)
        with pytest.raises(RuntimeError):
            buy(derived("m/84h/1h/0h/0/0", script.p2wpkh, TEST))

    assert not Lease.objects.filter(name="alarm").exists()


def test_other_trouble_alarms_nobody(own_key, buy, service):
    buy("", reason="no address")

    assert not DBTaskResult.objects.exists()


# The start


def of_key(found):
    return [fault.id for fault in found if "XPUB" in fault.msg]


@pytest.mark.parametrize(
    ("xpub", "network", "ids"),
    [
        ("", "main", []),
        (ZPUB, "main", []),
        (OWN, "test", []),
        (OWN, "regtest", []),
        ("nonsense", "main", ["payments.E007"]),
        (ZPUB, "test", ["payments.E007"]),
        (OWN, "main", ["payments.E007"]),
    ],
)
def test_a_key_that_cannot_work_is_said_at_the_start(settings, xpub, network, ids):
    settings.BLOCKONOMICS_XPUB, settings.BITCOIN_NETWORK = xpub, network

    found = list(checks.check_settings())

    assert of_key(found) == ids
    assert not xpub or not any(xpub in f"{fault.msg}{fault.hint}" for fault in found)


def test_neither_key_is_anywhere_at_the_desk(own_key, buy, admin_client, settings, call_back):
    settings.BLOCKONOMICS_API_KEY = "an-api-key-of-great-worth"
    buy(address(3), account=OWN)
    call_back(Invoice.objects.get())
    Client().post(f"/payments/create/{Invoice.objects.get().lines.get().product_id}/")
    buy(derived("m/84h/1h/0h/0/0", script.p2wpkh, TEST), account=ANOTHER)
    places = [""]
    for name in ("invoice", "callback", "product"):
        pk = Invoice.objects.get().pk if name == "invoice" else 1
        places += [f"payments/{name}/", f"payments/{name}/{pk}/change/"]
    places.append("django_tasks_database/dbtaskresult/")
    for task in DBTaskResult.objects.all():
        places.append(f"django_tasks_database/dbtaskresult/{task.pk}/change/")

    pages = "".join(
        admin_client.get(f"/admin/{place}", follow=True).content.decode() for place in places
    )

    assert len(places) > 8
    assert settings.BLOCKONOMICS_API_KEY not in pages
    assert OWN not in pages
