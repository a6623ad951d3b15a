"""The TLS edge, seen with `openssl s_client` and bare sockets."""

import re
import shutil
import socket
import ssl
import subprocess
import time

import pytest

import asks
from drivers import driver
from drivegate.v1 import answer_pb2 as a

OPENSSL = shutil.which("openssl")


def s_client(gateway, *options: str, certificate: str | None = "rental-demo", linger: float = 0.5) -> str:
    """Runs one handshake; returns everything openssl says."""
    assert OPENSSL, "openssl is missing: `./tests/run prepare` installs it (Debian package openssl)"
    words = [OPENSSL, "s_client", "-connect", gateway.address, "-servername", "localhost", "-CAfile", str(gateway.pki / "ca.pem")]
    words += ["-verify_return_error", "-alpn", "h2", *options]
    if certificate:
        words += ["-cert", str(gateway.pki / f"{certificate}.pem"), "-key", str(gateway.pki / f"{certificate}.key")]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(linger)
    return process.communicate(timeout=10)[0].decode("utf-8", "replace")


def knows_post_quantum() -> bool:
    """OpenSSL knows X25519MLKEM768 from 3.5 on."""
    version = subprocess.run([OPENSSL, "version"], capture_output=True, text=True, check=True).stdout
    major, minor = re.match(r"OpenSSL (\d+)\.(\d+)", version).groups()
    return (int(major), int(minor)) >= (3, 5)


def test_tls_13_with_h2_is_spoken(gateway):
    said = s_client(gateway)
    assert "TLSv1.3" in said and "Verification: OK" in said
    assert "ALPN protocol: h2" in said


def test_tls_12_is_refused(gateway):
    said = s_client(gateway, "-tls1_2")
    assert re.search(r"alert protocol version|handshake failure|no protocols available", said), said
    assert "Cipher is (NONE)" in said


def test_a_client_without_certificate_gets_an_alert(gateway):
    said = s_client(gateway, certificate=None, linger=1.0)
    assert re.search(r"certificate.required|alert", said), said


def test_no_session_ticket_is_given(gateway):
    said = s_client(gateway, linger=1.0)
    assert "New Session Ticket" not in said and "TLS session ticket" not in said
    assert "Reused" not in said.replace("Reused, TLSv1.3, Cipher is", "Reused") or "New, TLSv1.3" in said


def test_the_post_quantum_group_is_used_with_clients_that_know_it(gateway):
    """A client that lists it only after X25519 gets it all the same: the server's order counts."""
    if knows_post_quantum():
        said = s_client(gateway, "-groups", "X25519:X25519MLKEM768")
        assert "X25519MLKEM768" in said
    else:
        said = s_client(gateway, "-groups", "X25519")
        assert "Server Temp Key: X25519" in said


def test_a_client_with_classical_groups_only_is_served(gateway):
    assert "Server Temp Key: X25519" in s_client(gateway, "-groups", "X25519")


def test_plain_text_gets_no_answer_and_hurts_nobody(gateway, rental_desk):
    host, port = gateway.address.split(":")
    with socket.create_connection((host, int(port)), 5) as wire:
        wire.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 64)
        wire.settimeout(10)
        said = b"".join(iter(lambda: wire.recv(4096), b""))
    assert b"HTTP" not in said, "at most a TLS alert"
    assert rental_desk.Verify(asks.rental(driver("1")), timeout=5).decision == a.DECISION_QUALIFIED


def test_a_handshake_that_never_ends_is_ended(gateway, rental_desk):
    host, port = gateway.address.split(":")
    with socket.create_connection((host, int(port)), 5) as wire:
        wire.settimeout(15)
        start = time.monotonic()
        try:
            assert wire.recv(1) == b""
        except ConnectionResetError:
            pass
        assert time.monotonic() - start < 10, "the handshake has its own time limit"
    assert rental_desk.Verify(asks.rental(driver("1")), timeout=5).decision == a.DECISION_QUALIFIED


def test_garbage_inside_tls_ends_that_connection_only(gateway, rental_desk):
    context = ssl.create_default_context(cafile=str(gateway.pki / "ca.pem"))
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(gateway.pki / "rental-demo.pem", gateway.pki / "rental-demo.key")
    host, port = gateway.address.split(":")
    with socket.create_connection((host, int(port)), 5) as wire, context.wrap_socket(wire, server_hostname="localhost") as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(range(256)) * 8)
        tls.settimeout(10)
        try:
            while tls.recv(4096):
                pass
        except (ssl.SSLError, ConnectionResetError):
            pass
    assert rental_desk.Verify(asks.rental(driver("1")), timeout=5).decision == a.DECISION_QUALIFIED


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_the_admin_listener_says_that_all_is_well(gateway, path):
    assert gateway.fetch(path)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_the_admin_listener_changes_nothing(gateway, method):
    import http.client

    for path in ("/livez", "/metrics", "/suspend", "/partners/rental-demo"):
        wire = http.client.HTTPConnection(gateway.admin, timeout=5)
        wire.request(method, path, body=b"{}")
        assert wire.getresponse().status in (404, 405)
        wire.close()


def test_metrics_count_what_happened_and_name_nobody(gateway, rental_desk):
    rental_desk.Verify(asks.rental(driver("1")), timeout=5)
    text = gateway.fetch("/metrics")[1]
    assert re.search(r"^drivegate_\w+", text, re.MULTILINE)
    assert driver("1").number not in text and driver("1").name not in text
    assert text.count("\n# HELP") >= 10
    for line in text.splitlines():
        if line.startswith("# HELP"):
            assert len(line.split(maxsplit=3)) == 4, f"a metric without words: {line}"
