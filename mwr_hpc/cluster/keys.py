"""Certificate and key of one pool: whoever has them may give its workers code to run, nobody else may.

A port of the loopback can be reached by every account of the machine, so workers on one host need them too.
"""

import datetime
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIFETIME = datetime.timedelta(days=365)
"""Time for which a certificate is valid; every start of a run makes a new one."""

CLOCK_ERROR = datetime.timedelta(days=1)
"""By so much the clocks of two nodes may differ."""


@dataclass(frozen=True)
class Keys:
    """The files of one certificate and its key, which prove that scheduler, workers and client belong together."""

    certificate: Path
    key: Path

    def security(self) -> Any:
        """Return the ``distributed.security.Security`` that refuses everybody without the key."""
        from distributed.security import Security

        roles = {f"tls_{role}_cert": str(self.certificate) for role in ("client", "scheduler", "worker")}
        roles |= {f"tls_{role}_key": str(self.key) for role in ("client", "scheduler", "worker")}
        return Security(require_encryption=True, tls_ca_file=str(self.certificate), **roles)

    def words(self) -> list[str]:
        """Arguments of a worker."""
        certificate, key = str(self.certificate), str(self.key)
        return ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]


def make_keys(folder: Path) -> Keys:
    """Make a certificate and its key in `folder`, for nobody but the user to read."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    folder.parent.chmod(0o700)
    keys = Keys(folder / "certificate.pem", folder / "key.pem")
    for path, text in zip((keys.certificate, keys.key), _made(), strict=True):
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
    return keys


def _made() -> tuple[bytes, bytes]:
    """Return a certificate that is its own authority, and its key, both as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mwr-hpc")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_ERROR)
        .not_valid_after(now + LIFETIME)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return certificate.public_bytes(pem), key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
