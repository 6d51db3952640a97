"""How aiokafka is told of SASL and TLS."""

import ssl
from typing import Any

from bioscope_gql.errors import ConfigurationError
from bioscope_gql.settings import KafkaSecurity


def arguments(settings: KafkaSecurity) -> dict[str, Any]:
    """Keyword arguments for any client of aiokafka.

    Raises:
        ConfigurationError: a certificate can't be read.
    """
    found: dict[str, Any] = {"security_protocol": settings.protocol}
    if settings.protocol.startswith("SASL") and settings.password is not None:
        found |= {
            "sasl_mechanism": settings.mechanism,
            "sasl_plain_username": settings.username,
            "sasl_plain_password": settings.password.get_secret_value(),
        }
    if settings.protocol.endswith("SSL"):
        found["ssl_context"] = _context(settings)
    return found


def _context(settings: KafkaSecurity) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except OSError as error:
        raise ConfigurationError(
            [f"A file of kafka.security can't be used ({error}): check its path and what it holds."]
        ) from error
    return context
