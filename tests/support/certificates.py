"""A certificate for 127.0.0.1, localhost and poe.test that signs itself, for servers of the tests that speak TLS."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """What a server with this certificate uses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """What a client that trusts this certificate, and no other, uses."""
        return ssl.create_default_context(cafile=str(self.certificate))


def self_signed(home: Path) -> Certificate:
    """Makes one in ``home``, with the openssl command."""
    made = Certificate(home / "test.crt", home / "test.key")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:poe.test"]
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run([*new, *names, *files], check=True, capture_output=True, timeout=20)
    return made
