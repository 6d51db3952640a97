"""A file as it came in: on this machine's disk, not yet looked at."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file of a multipart request, spooled to disk for as long as its request lasts.

    `filename` is the client's, uncleaned. `size` is what was sent, in bytes. Where `too_large` is
    true nothing was kept: the file at `path` is empty and `sha256` is the hash of no bytes.
    Whoever wants to keep the bytes copies or moves them before the request ends.
    """

    filename: str
    path: Path = field(repr=False)
    size: int
    sha256: str
    too_large: bool = False


def uploaded_file(value: object) -> UploadedFile:
    """`parse_value` of the scalar Upload: only a file that came with this request will do.

    Raises:
        ValueError: it is something that JSON or a literal can say.
    """
    if not isinstance(value, UploadedFile):
        msg = "An Upload is a file of a multipart request; send null here and name its place in `map`."
        raise ValueError(msg)
    return value
