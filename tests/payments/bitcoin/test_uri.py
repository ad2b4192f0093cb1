"""Payment links by BIP21."""

import doctest
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from payments.bitcoin import BITCOIN, MAX_SATOSHIS, uri

satoshis = st.integers(0, MAX_SATOSHIS)


def test_a_label_may_hold_anything():
    link = uri.payment_uri("tb1q", 1, "Tom & Käthe's 100 %")

    assert link == "bitcoin:tb1q?amount=0.00000001&label=Tom%20%26%20K%C3%A4the%27s%20100%20%25"


@given(satoshis, st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_what_a_wallet_reads_is_what_was_meant(amount, label):
    link = urlsplit(uri.payment_uri("tb1q", amount, label))
    fields = parse_qs(link.query, strict_parsing=True)

    assert (link.scheme, link.path) == ("bitcoin", "tb1q")
    assert fields["label"] == [label]
    assert BITCOIN.to_units(Decimal(fields["amount"][0]), Decimal(1)) == amount


@given(satoshis)
def test_bitcoin_is_written_with_eight_digits(amount):
    written = uri.payment_uri("tb1q", amount).partition("?amount=")[2]

    assert len(written.partition(".")[2]) == 8
    assert "e" not in written.lower()
    assert int(written.replace(".", "")) == amount


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(uri) == (0, 1)
