"""From a path to what the file is."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from bioscope_gql.errors import Rejected
from bioscope_gql.storage.pixels.bounds import Bounds, corrupt, unsupported
from bioscope_gql.storage.pixels.found import Found

_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"II+\0": "image/tiff",
    b"MM\0+": "image/tiff",
    b"BM": "image/bmp",
}
_KNOWN = {
    b"GIF8": "it is a GIF",
    b"<svg": "it is an SVG",
    b"%PDF": "it is a PDF",
    b"PK": "it is a ZIP archive",
}


def examine(path: Path, bounds: Bounds) -> Found:
    """Everything about a file: what it is, whether it is whole, what it says of itself and how it looks.

    Raises:
        Rejected: it is not to be kept.
        MemoryError: it takes more than this process may have.
    """
    size = path.stat().st_size
    bounds.check_file(size, tiled=True)
    with path.open("rb") as file:
        content_type = sniffed(file.read(16))
    read = _reader(content_type)
    try:
        return read(path, size, bounds)
    except (Rejected, MemoryError):
        raise
    except Exception as error:  # whatever libraries raise over a hostile file, it is the file
        raise corrupt(f"reading it ended with {type(error).__name__}") from error


def _reader(content_type: str) -> Callable[[Path, int, Bounds], Found]:
    """Imported by need: most files want neither numpy nor tifffile, which are most of this process."""
    if content_type == "image/tiff":
        from bioscope_gql.storage.pixels import tiff

        return tiff.examine
    from bioscope_gql.storage.pixels import plain

    return partial(plain.examine, content_type=content_type)


def sniffed(head: bytes) -> str:
    """The content type by magic number.

    Raises:
        Rejected: it is none of ours.
    """
    for magic, content_type in _MAGIC.items():
        if head.startswith(magic):
            return content_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    for magic, reason in _KNOWN.items():
        if head.startswith(magic):
            raise unsupported(reason)
    raise unsupported("it is no picture, whatever its name says")
