"""A real deployment: the built binary, its own throw-away PKI, real Redis, free ports."""

import contextlib
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import tomllib
import urllib.error
import urllib.request

import grpc
import tomli_w
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import stubs
from drivegate.v1 import presentation_service_pb2_grpc as wallet_rpc
from drivegate.v1 import verification_service_pb2_grpc as rpc

BINARY = pathlib.Path(os.environ.get("DRIVEGATE_BIN", stubs.ROOT / "target" / "release" / "drivegate"))
START_SECONDS = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(probe, seconds: float, what: str):
    """Waits until a probe returns something true, at most so long; returns it."""
    end = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Redis:
    """The machine's `redis-server` on a free port, nothing on disk."""

    def __init__(self, folder: pathlib.Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("redis-server is missing: `./tests/run prepare` installs it (Debian package redis-server)")
        self.process = subprocess.Popen(
            [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)],
            stdout=subprocess.DEVNULL,
        )
        self.url = f"redis://127.0.0.1:{self.port}/"
        eventually(self._answers, START_SECONDS, "redis answers")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as wire:
            wire.sendall(b"PING\r\n")
            return wire.recv(16).startswith(b"+PONG")
        return False

    def command(self, *words: str) -> bytes:
        """Sends one command, returns the raw reply (first 64 KiB)."""
        with socket.create_connection(("127.0.0.1", self.port), 2) as wire:
            parts = b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
            wire.sendall(b"*%d\r\n" % len(words) + parts)
            return wire.recv(65536)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Deployment:
    """A sandbox deployment in a folder of its own."""

    def __init__(self, folder: pathlib.Path, drivers: int = 200):
        if not BINARY.exists():
            raise RuntimeError(f"{BINARY} is missing: `cargo build --release` makes it")
        self.folder = folder
        self.process: subprocess.Popen | None = None
        self.lines: list[str] = []
        self.run("init", str(folder))
        self.run("registry", "generate", "--count", str(drivers), "--seed", "7", "--with-test-drivers", "--into", str(folder))

    @property
    def pki(self) -> pathlib.Path:
        return self.folder / "pki"

    def run(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess:
        """Runs a command of the binary; a failure shows what it said."""
        done = subprocess.run([str(BINARY), *words], capture_output=True, text=True, timeout=timeout, cwd=self.folder.parent)
        assert done.returncode == 0, f"drivegate {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def configure(self, change) -> None:
        """Changes `config.toml`: the function gets the parsed document and edits it in place."""
        self._edit(self.folder / "config.toml", change)

    def contract(self, partner: str, change) -> None:
        """Changes a partner's contract file."""
        self._edit(self.folder / "partners" / f"{partner}.toml", change)

    def _edit(self, path: pathlib.Path, change) -> None:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        change(document)
        fresh = path.with_suffix(".new")
        fresh.write_text(tomli_w.dumps(document), encoding="utf-8")
        fresh.chmod(path.stat().st_mode & 0o777)
        fresh.replace(path)

    def add_partner(self, partner: str, like: str, change=lambda document: None) -> None:
        """Adds a partner whose contract begins as a copy of another's, with a certificate of its own."""
        source = self.folder / "partners" / f"{like}.toml"
        text = source.read_text(encoding="utf-8").replace(like, partner)
        target = self.folder / "partners" / f"{partner}.toml"
        document = tomllib.loads(text)
        uris = [entry["san_uri"] for entry in document["identity"] if "san_uri" in entry]
        document["identity"] = [{"san_uri": uri} for uri in uris]
        change(document)
        target.write_text(tomli_w.dumps(document), encoding="utf-8")
        target.chmod(source.stat().st_mode & 0o777)
        self.issue(partner, uris)

    def uris(self, partner: str) -> list[str]:
        """The names a partner's certificate carries."""
        certificate = x509.load_pem_x509_certificate((self.pki / f"{partner}.pem").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)

    def issue(self, name: str, uris: list[str], authority: pathlib.Path | None = None) -> None:
        """Issues a client certificate by the deployment's authority (or another folder's)."""
        folder = authority or self.pki
        issuer = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        own = ec.generate_private_key(ec.SECP256R1())
        today = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.subject)
            .public_key(own.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - datetime.timedelta(minutes=5))
            .not_valid_after(today + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris]), False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
            .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
        )
        self._write(name, own, certificate)

    def _write(self, name: str, key, certificate: x509.Certificate) -> None:
        secret = self.pki / f"{name}.key"
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        secret.chmod(0o600)
        (self.pki / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def serve(self, signals_ignored: bool = False) -> "Deployment":
        """Starts the gateway and waits until it says that it is ready.

        Python ignores SIGXFSZ and normally sets it back in children; with `signals_ignored` the gateway inherits that, so
        that a file beyond its size limit is an error to it and not its end.
        """
        self.lines = []
        errors = open(self.folder / "serve.err", "ab")
        self.process = subprocess.Popen(
            [str(BINARY), "serve", "--config", str(self.folder / "config.toml"), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            restore_signals=not signals_ignored,
        )
        errors.close()
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        eventually(self._ready, START_SECONDS, f"serve is ready; stderr: {self.folder / 'serve.err'}")
        return self

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            self.lines.append(line)

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"serve ended with {self.process.returncode}:\n{(self.folder / 'serve.err').read_text()}")
        for line in self.lines:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == "ready":
                    self.address, self.admin = event["partners"], event["admin"]
                    return True
        return False

    def stop(self) -> int:
        """Asks the gateway to stop and returns its exit code; kills it when it does not within 15 s."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("serve did not stop within 15 s of SIGTERM") from None
        return self.process.returncode

    def fetch(self, path: str) -> tuple[int, str]:
        """Reads a page of the admin listener."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=5) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as page:
            return page.code, page.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Sums the samples of a metric whose labels include the given ones."""
        total = 0.0
        for line in self.fetch("/metrics")[1].splitlines():
            found = re.match(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([-+.\deE]+)", line)
            if found and found[1] == name and all(f'{key}="{value}"' in (found[2] or "") for key, value in labels.items()):
                total += float(found[3])
        return total

    def credentials(self, partner: str | None, trust: pathlib.Path | None = None) -> grpc.ChannelCredentials:
        trusted = ((trust or self.pki) / "ca.pem").read_bytes()
        if partner is None:
            return grpc.ssl_channel_credentials(trusted)
        key, chain = (self.pki / f"{partner}.key").read_bytes(), (self.pki / f"{partner}.pem").read_bytes()
        return grpc.ssl_channel_credentials(trusted, key, chain)

    def channel(self, partner: str | None, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
        """Opens a connection of its own (never one shared with another channel of this process)."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        return grpc.secure_channel(self.address, credentials or self.credentials(partner), options)

    def partner(self, partner: str) -> rpc.VerificationServiceStub:
        """A partner's client on a connection of its own."""
        return rpc.VerificationServiceStub(self.channel(partner))

    def wallet(self, partner: str) -> wallet_rpc.PresentationServiceStub:
        """A wallet's client on a connection of its own."""
        return wallet_rpc.PresentationServiceStub(self.channel(partner))


def authority(folder: pathlib.Path) -> pathlib.Path:
    """Makes another authority that the gateway has never heard of."""
    folder.mkdir(parents=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody else")])
    today = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(minutes=5))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(True, 0), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder
