"""Addresses are those that every wallet derives from the same key."""

import pytest

from sandbox import conf, keys

# From the phrase "abandon … about" of BIP39, as in BIP84, BIP49 and BIP44.
ZPUB = (
    "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf3"
    "1mGDtKsAYz2oz2AGutZYs"
)
YPUB = (
    "ypub6Ww3ibxVfGzLrAH1PNcjyAWenMTbbAosGNB6VvmSEgytSER9azLDWCxoJwW7Ke7icmizBMXrzBx9979FfaHxHcr"
    "Arf3zbeJJJUZPf663zsP"
)
XPUB = (
    "xpub6BosfCnifzxcFwrSzQiqu2DBVTshkCXacvNsWGYJVVhhawA7d4R5WSWGFNbi8Aw6ZRc1brxMyWMzG3DSSSSoekk"
    "udhUd9yLb6qx39T9nMdj"
)
VPUB = (
    "vpub5Y6cjg78GGuNLsaPhmYsiw4gYX3HoQiRBiSwDaBXKUafCt9bNwWQiitDk5VZ5BVxYnQdwoTyXSs2JHRPAgjAvtb"
    "Brf8ZhDYe2jWAqvZVnsc"
)
UPUB = (
    "upub5EFU65HtV5TeiSHmZZm7FUffBGy8UKeqp7vw43jYbvZPpoVsgU93oac7Wk3u6moKegAEWtGNF8DehrnHtv21XXE"
    "MYRUocHqguyjknFHYfgY"
)
TPUB = (
    "tpubDC5FSnBiZDMmhiuCmWAYsLwgLYrrT9rAqvTySfuCCrgsWz8wxMXUS9Tb9iVMvcRbvFcAHGkMD5Kx8koh4GquNGN"
    "Tfohfk7pgjhaPCdXpoba"
)


@pytest.mark.parametrize(
    ("key", "index", "address"),
    [
        (ZPUB, 0, "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"),
        (ZPUB, 1, "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g"),
        (YPUB, 0, "37VucYSaXLCAsxYyAPfbSi9eh4iEcbShgf"),
        (XPUB, 0, "1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA"),
        (VPUB, 0, "tb1q6rz28mcfaxtmd6v789l9rrlrusdprr9pqcpvkl"),
        (UPUB, 0, "2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2"),
        (TPUB, 0, "mkpZhYtJu2r87Js3pDiWJDmPte2NRZ8bJV"),
    ],
)
def test_each_kind_of_key_gives_the_known_address(key, index, address):
    assert keys.address_at(key, index) == address


def test_the_default_key_belongs_to_a_test_network():
    address = keys.address_at(conf.TEST_KEY, 0)

    assert address.startswith("tb1q")
    assert keys.is_address(address)


@pytest.mark.parametrize("text", ["", "zpub", ZPUB[:-1] + "t", "é", "bc1q", "x" * 111])
def test_other_texts_are_no_keys(text):
    assert not keys.is_key(text)
    with pytest.raises(keys.NotAKey, match="xpub"):
        keys.address_at(text, 0)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu", True),
        ("37VucYSaXLCAsxYyAPfbSi9eh4iEcbShgf", True),
        ("bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyv", False),
        ("1TestBTCAddress123", False),
        ("", False),
        ("é", False),
    ],
)
def test_an_address_is_known_by_its_checksum(text, verdict):
    assert keys.is_address(text) is verdict


def test_capitals_of_a_qr_code_mean_the_same_address():
    assert keys.tidy_address(" TB1QABC ") == "tb1qabc"
    assert keys.tidy_address("1AbC") == "1AbC"


def test_test_addresses_look_like_those_of_the_test_mode():
    address = keys.invent_test_address()

    assert address.startswith("1TestBTCAddress")
    assert keys.is_test_address(address)
    assert not keys.is_address(address)
