"""What a client should know before it starts."""

import strawberry

from bioscope_gql import __version__
from bioscope_gql.schema import define
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.scalars import BigInt
from bioscope_gql.settings import Limits
from bioscope_gql.vocabulary import CONTENT_TYPES


@define.type
class ServerLimits:
    """How much may be sent at once."""

    bytes_per_file: BigInt
    bytes_per_upload: BigInt
    files_per_upload: int
    pixels_per_image: BigInt
    frames_per_image: int
    images_per_run: int
    ids_per_mutation: int
    password_min_length: int

    @classmethod
    def of(cls, limits: Limits) -> "ServerLimits":
        return cls(
            bytes_per_file=BigInt(limits.file_bytes),
            bytes_per_upload=BigInt(limits.upload_request_bytes),
            files_per_upload=limits.upload_files,
            pixels_per_image=BigInt(limits.pixels),
            frames_per_image=limits.frames,
            images_per_run=limits.images_per_run,
            ids_per_mutation=limits.ids_per_mutation,
            password_min_length=limits.password_min_length,
        )


@define.type
class ServerInfo:
    """This server: its version, what it takes, and how much of it."""

    version: str
    registration_open: bool
    content_types: list[str]
    limits: ServerLimits


@strawberry.type
class ServerQueries:
    @define.field
    def server(self, info: Info) -> ServerInfo:
        """What a client should know before it starts; for anybody."""
        settings = info.context.services.settings
        return ServerInfo(
            version=__version__,
            registration_open=settings.auth.registration == "open",
            content_types=list(CONTENT_TYPES),
            limits=ServerLimits.of(settings.limits),
        )
