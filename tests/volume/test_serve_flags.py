"""Flags of `serve` that change how it is reached, on a real start."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.served import Served, wait_for

PAGE = "https://page.example"
ENGINE = {"PAGODA_ENGINE_COMMAND": "engine.testing"}


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(cert_file), str(key_file)


def answers(client: httpx.Client, served: Served) -> bool:
    assert served.process.poll() is None, served.log.read_text()[-3000:]
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def test_tls_cors_and_hidden_docs(tmp_path, certificate):
    flags = ["--ssl-certfile", certificate[0], "--ssl-keyfile", certificate[1]]
    flags += ["--allowed-origins", f'["{PAGE}"]', "--disable-fastapi-docs"]
    served = Served(tmp_path / "home", *flags, env=ENGINE)
    try:
        url = f"https://127.0.0.1:{served.port}"
        with httpx.Client(base_url=url, verify=False, trust_env=False) as client:
            wait_for(lambda: answers(client, served), within_s=120, what="health over TLS")
            wait_for(lambda: "ready" in served.log.read_text(), within_s=30, what="the welcome")
            assert served.boot["base_url"] == url
            key = {"Authorization": f"Bearer {served.boot['api_key']}"}
            reply = client.get("/v1/models", headers=key | {"Origin": PAGE})
            assert reply.headers["access-control-allow-origin"] == PAGE
            ask = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
            assert client.options("/tokenize", headers=ask).status_code == 204
            assert client.get("/openapi.json").status_code == 404
        assert served.stop() == 0
    finally:
        served.destroy()


def test_a_unix_socket_instead_of_a_port(tmp_path):
    socket = tmp_path / "http.sock"
    served = Served(tmp_path / "home", "--uds", str(socket), env=ENGINE)
    try:
        transport = httpx.HTTPTransport(uds=str(socket))
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            wait_for(lambda: answers(client, served), within_s=120, what="health over the socket")
        assert served.status("/livez") == 0
        assert served.stop() == 0
        assert not socket.exists()
    finally:
        served.destroy()
