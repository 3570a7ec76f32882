"""The server's side of TLS: certificates, and clients that have to show one."""

from __future__ import annotations

import os
import ssl

from qemu_viso.errors import ConfigurationError, MissingInputError


def server_context(certificate: str, key: str, client_authority: str | None = None) -> ssl.SSLContext:
    """A context for `Server(tls=...)`.

    Args:
        certificate: path of the server's certificate chain, PEM.
        key: path of its private key, PEM, not encrypted.
        client_authority: path of the certificates, PEM, one of which must have signed a client's; None lets every
            client in.

    Raises:
        MissingInputError: a file is not there.
        ConfigurationError: a file cannot be read, or is not what it should be.
    """
    files = [name for name in (certificate, key, client_authority) if name is not None]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # section "TLS versions"
    try:
        # An encrypted key would be asked for on the terminal; a server has none.
        context.load_cert_chain(certificate, key, password=_no_password)
        if client_authority is not None:
            context.load_verify_locations(client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except FileNotFoundError:  # OpenSSL does not say which
        missing = next((name for name in files if not os.path.exists(name)), certificate)
        raise MissingInputError(f"the TLS file '{missing}' does not exist") from None
    except (ssl.SSLError, OSError, ValueError) as error:
        named = ", ".join(f"'{name}'" for name in files)
        raise ConfigurationError(
            f"the TLS files {named} cannot be used: {getattr(error, 'reason', None) or error}",
            hint="certificates and an unencrypted key in PEM form are wanted, and the key must be the certificate's",
        ) from None
    return context


def _no_password() -> str:
    raise ValueError("the private key is encrypted")
