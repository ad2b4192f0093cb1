"""A shop with a private certificate: its callbacks need the certificate of its authority."""

import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox import chain
from sandbox.apps import ca_bundle_can_be_read
from sandbox.blockonomics import callbacks
from sandbox.models import Attempt, Delivery, Store

pytestmark = pytest.mark.django_db


def certify(name, issuer=None, issuer_key=None, *, extensions):
    """(certificate, key) of this name, valid now; without an issuer it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if issuer:
        known_as = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
        builder = builder.add_extension(known_as, False)
    for extension in extensions:
        builder = builder.add_extension(extension, True)
    return builder.sign(issuer_key or key, hashes.SHA256()), key


SIGNS_OTHERS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """The files `ca.pem` and `shop.pem` of a private authority and of the shop on this machine."""
    folder = tmp_path_factory.mktemp("authority")
    usage = [x509.BasicConstraints(ca=True, path_length=None), SIGNS_OTHERS]
    ca, ca_key = certify("A private authority", extensions=usage)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    shop, shop_key = certify("A staging shop", ca, ca_key, extensions=[address])
    (folder / "ca.pem").write_bytes(pem(ca))
    secret = shop_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "shop.pem").write_bytes(secret + pem(shop))
    return folder


@pytest.fixture
def staging_shop(authority):
    """The URL of the shop's callbacks, over HTTPS; it answers 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *given):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "shop.pem")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}/callback?secret=of-the-shop"
        server.shutdown()
        thread.join()


def pay(new_address, url):
    """What became of the callback about a payment."""
    address = new_address()
    Store.objects.update(http_callback=url)
    chain.pay([(address, 1_000)])
    callbacks.deliver_due()
    return Delivery.objects.get().state, Attempt.objects.get().error


def test_a_certificate_of_nobody_known_is_refused(new_address, staging_shop):
    state, error = pay(new_address, staging_shop)

    assert state == "due"
    assert "CERTIFICATE_VERIFY_FAILED" in error


def test_with_the_authoritys_own_certificate_it_is_believed(
    new_address, staging_shop, authority, settings
):
    settings.SANDBOX_CA_BUNDLE = str(authority / "ca.pem")

    assert pay(new_address, staging_shop) == ("delivered", "")
    assert ca_bundle_can_be_read(None) == []


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_bundle_that_cannot_be_read_is_told_at_the_start(
    new_address, staging_shop, tmp_path, settings, content
):
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    settings.SANDBOX_CA_BUNDLE = str(bundle)

    [error] = ca_bundle_can_be_read(None)
    state, answer = pay(new_address, staging_shop)

    assert error.id == "sandbox.E002"
    assert str(bundle) in error.msg
    assert (state, bool(answer)) == ("due", True)
