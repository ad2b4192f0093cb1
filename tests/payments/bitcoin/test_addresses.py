"""Which strings are addresses; the vectors are those of BIP173, BIP350 and the first blocks."""

import pytest
from embit import bech32
from hypothesis import given
from hypothesis import strategies as st

from payments.bitcoin.addresses import is_valid, normalize

SEGWIT_MAIN = [
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
]
SEGWIT_TEST = [
    "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
    "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
    "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
]
BASE58_MAIN = [
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
    "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
]
BASE58_TEST = [
    "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
    "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc",
]
MAIN = [*SEGWIT_MAIN, *BASE58_MAIN]
TEST = [*SEGWIT_TEST, *BASE58_TEST]

INVALID = [
    # BIP350: another prefix, wrong checksum, wrong version, wrong length, mixed case, padding
    "tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty",
    "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf",
    "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
    "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47",
    "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
    "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
    "bc1pw5dgrnzv",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j",
    "bc1gmk9yu",
    # BIP173: taproot's version with the older checksum
    "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7k7grplx",
    "bc1zw508d6qejxtdg4y5r3zarvaryvg6kdaj",
    # Valid by BIP350, but of witness versions without a meaning: anybody could spend them.
    "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
    "BC1SW50QGDZ25J",
    "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",
    # base58: a wrong checksum, letters that it does not have, a private key, an extended key
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfN0",
    "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ",
    "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsef"
    "D265TMg7usUDFdp6W1EGMcet8",
    # what people and programs send
    "",
    " ",
    "bitcoin:bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    " bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\n",
    "1TestBTCAddress",
    "0x71C7656EC7ab88b098defB751B7401B5f6d8976F",
]


@pytest.mark.parametrize("address", MAIN)
def test_an_address_of_the_main_network_is_valid_there_only(address):
    assert is_valid(address, "main")
    assert not any(is_valid(address, network) for network in ("test", "signet", "regtest"))


@pytest.mark.parametrize("address", TEST)
def test_an_address_of_the_test_network_is_not_valid_on_the_main_one(address):
    assert is_valid(address, "test")
    assert is_valid(address, "signet")
    assert not is_valid(address, "main")


@pytest.mark.parametrize("network", ["main", "test", "signet", "regtest"])
@pytest.mark.parametrize("address", INVALID, ids=range(len(INVALID)))
def test_anything_else_is_refused(address, network):
    assert not is_valid(address, network)


def test_the_main_network_is_meant_unless_another_is_named():
    assert is_valid(MAIN[0])
    assert not is_valid(TEST[0])


@given(st.sampled_from([*SEGWIT_MAIN, *SEGWIT_TEST]), st.data())
def test_one_wrong_character_is_always_noticed(address, data):
    position = data.draw(st.integers(0, len(address) - 1))
    wrong = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    corrupt = address[:position] + wrong + address[position + 1 :]

    assert is_valid(corrupt, "main") == (corrupt == address and address in SEGWIT_MAIN)
    assert is_valid(corrupt, "test") == (corrupt == address and address in SEGWIT_TEST)


@pytest.mark.parametrize("address", SEGWIT_MAIN[1:3])
def test_no_letter_of_the_alphabet_can_stand_for_another(address):
    for position in range(len("bc1"), len(address)):
        for wrong in bech32.CHARSET.replace(address[position], ""):
            assert not is_valid(address[:position] + wrong + address[position + 1 :])


@pytest.mark.parametrize("address", [*SEGWIT_MAIN, *SEGWIT_TEST])
def test_bech32_in_capitals_is_the_same_address(address):
    assert normalize(address.upper()) == normalize(address) == address.lower()


@pytest.mark.parametrize("address", [*BASE58_MAIN, *BASE58_TEST])
def test_base58_keeps_its_case(address):
    assert normalize(address) == address


@pytest.mark.parametrize("address", [*MAIN, *TEST])
def test_normalizing_keeps_what_is_valid_valid(address):
    network = "main" if address in MAIN else "test"

    assert is_valid(normalize(address), network)


@given(st.text())
def test_garbage_is_refused_without_a_crash(text):
    assert not is_valid(text, "main")
    assert not is_valid(text, "test")
    normalize(text)


@given(st.sampled_from(["bc1", "tb1", "BC1", "1", "3", "2", "m"]), st.text("qpzry9x8gf2tvdw0s3jn"))
def test_garbage_with_a_good_beginning_is_refused_as_well(beginning, rest):
    assert not is_valid(beginning + rest, "main")
    assert not is_valid(beginning + rest, "test")


@given(st.integers(0, 31), st.binary(min_size=0, max_size=45))
def test_only_known_versions_and_lengths_are_addresses(version, program):
    data = [version, *bech32.convertbits(program, 8, 5)]
    known = (version, len(program)) in {(0, 20), (0, 32), (1, 32)}

    spellings = [bech32.bech32_encode(encoding, "bc", data) for encoding in (1, 2)]

    assert [is_valid(spelling) for spelling in spellings].count(True) == int(known)
