"""The TLS context of a client, from its settings."""

from __future__ import annotations

import errno
import ssl

from broker.settings import BrokerSettings


def client_context(settings: BrokerSettings) -> ssl.SSLContext | None:
    """None without TLS. Raises OSError with the name of the file that cannot be used."""
    if not settings.address.tls:
        return None
    ca, cert, key = settings.broker_ca, settings.broker_cert, settings.broker_key
    for path in filter(None, (ca, cert, key)):
        path.read_bytes()  # ssl would not say which file is missing
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise OSError(errno.EINVAL, f"no CA certificate: {error.reason}", str(ca)) from None
    if cert is not None:
        try:
            context.load_cert_chain(cert, key)
        except ssl.SSLError as error:
            why = f"no certificate with its key: {error.reason}"
            raise OSError(errno.EINVAL, why, str(cert)) from None
    return context
