"""The store that the settings name."""

from bioscope_gql.settings import S3
from bioscope_gql.storage.blobs import BlobStore
from bioscope_gql.storage.disk import DiskStore
from bioscope_gql.storage.links import LinkSigner, load_or_create_secret

SECRET = ".link-secret"  # noqa: S105 - the name of a file
"""In the folder of a disk store; no key begins with a dot, so no key reaches it."""


def store_of(settings: S3) -> BlobStore:
    """A folder or a bucket, to be entered before use. The settings were checked to name one.

    Raises:
        ConfigurationError: a value can't be right, or the folder can't be used.
    """
    if settings.directory is not None:
        return DiskStore(settings.directory, signer_of(settings))
    from bioscope_gql.storage.s3 import S3Store
    from bioscope_gql.storage.s3_options import S3Options

    return S3Store(
        S3Options(
            endpoint=settings.endpoint or "",
            access_key=settings.access_key or "",
            secret_key=settings.secret_key.get_secret_value() if settings.secret_key else "",
            bucket=settings.bucket or "",
            public_endpoint=settings.public_endpoint,
            worker_endpoint=settings.worker_endpoint,
            region=settings.region,
            create_bucket=settings.create_bucket,
        )
    )


def signer_of(settings: S3) -> LinkSigner:
    """Signs and judges the links of a disk store; all replicas over one folder share its secret."""
    if settings.directory is None:
        raise ValueError("Only a disk store has links of our own.")
    return LinkSigner(load_or_create_secret(settings.directory / SECRET))
