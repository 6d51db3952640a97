"""Where the bucket is, and who we are there."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bioscope_gql.errors import ConfigurationError
from bioscope_gql.storage.blobs import Reader

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.IGNORECASE)


@dataclass(frozen=True)
class S3Options:
    """What an S3 store must be told; endpoints are ``http(s)://host[:port]``.

    Links for browsers name `public_endpoint`, those for workers `worker_endpoint`; both are `endpoint`
    unless they are given. A proxy in front of one must pass on the Host header: it is signed.

    Raises:
        ConfigurationError: a value can't be right.
    """

    endpoint: str
    access_key: str
    bucket: str
    secret_key: str = field(repr=False)
    public_endpoint: str | None = None
    worker_endpoint: str | None = None
    region: str = "us-east-1"
    create_bucket: bool = False

    def __post_init__(self) -> None:
        endpoints = {
            "endpoint": self.endpoint,
            "public_endpoint": self.public_endpoint,
            "worker_endpoint": self.worker_endpoint,
        }
        problems = [
            f"s3.{name} must be an address like http://minio:9000, without a path; it is {value!r}."
            for name, value in endpoints.items()
            if value is not None and not _is_endpoint(value)
        ]
        if not _BUCKET.fullmatch(self.bucket):
            problems.append(f"s3.bucket must be 3 to 63 of a-z, 0-9, dot and hyphen; it is {self.bucket!r}.")
        if not _REGION.fullmatch(self.region):
            problems.append(f"s3.region must be a name like us-east-1; it is {self.region!r}.")
        problems += [
            f"s3.{name} is empty." for name in ("access_key", "secret_key") if not getattr(self, name)
        ]
        if problems:
            raise ConfigurationError(problems)

    @property
    def secure(self) -> bool:
        return urlsplit(self.endpoint).scheme == "https"

    def address_for(self, reader: Reader) -> str:
        """The endpoint that links for this reader name."""
        other = self.public_endpoint if reader == "browser" else self.worker_endpoint
        return other or self.endpoint


def _is_endpoint(value: str) -> bool:
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    plain = parts.username is None and parts.path in ("", "/") and not parts.query and not parts.fragment
    return parts.scheme in ("http", "https") and bool(host) and port != 0 and plain
