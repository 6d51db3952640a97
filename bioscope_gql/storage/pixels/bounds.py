"""How much of a file's claims is believed before anything is decoded."""

from dataclasses import dataclass

from bioscope_gql.errors import Rejected
from bioscope_gql.vocabulary import RejectionCode

MAX_SIDE = 1_000_000
"""No camera or scanner reaches it; arithmetic on it stays far from every integer's end."""

MAX_SAMPLES = 256


@dataclass(frozen=True, slots=True)
class Bounds:
    """The part of the settings' limits that concerns one file."""

    pixels: int
    tiled_pixels: int
    frames: int
    decoded_bytes: int
    file_bytes: int
    tiled_file_bytes: int
    intake_seconds: int

    def check_file(self, size: int, *, tiled: bool) -> None:
        """Refuse a file of no bytes or too many."""
        if size == 0:
            raise Rejected(RejectionCode.EMPTY, "The file is empty. Check that it was copied completely.")
        most = self.tiled_file_bytes if tiled else self.file_bytes
        if size > most:
            kind = "a tiled TIFF" if tiled else "one that is not a tiled TIFF"
            raise Rejected(
                RejectionCode.TOO_LARGE, f"The file has {size:,} bytes; {most:,} is the most for {kind}."
            )

    def check_frames(self, frames: int, *, counted: bool = True) -> None:
        """Refuse too many frames; not `counted`: there may be more of them than this."""
        if frames > self.frames:
            more = f"{frames:,}" if counted else f"more than {self.frames:,}"
            raise Rejected(
                RejectionCode.TOO_MANY_FRAMES,
                f"The picture has {more} frames; {self.frames:,} is the most. Split it into several files.",
            )

    def check_extent(self, width: int, height: int, *, tiled: bool = False) -> None:
        """Refuse a frame that is larger than allowed, or has no pixels at all."""
        if width < 1 or height < 1:
            raise corrupt(f"it says that it is {width} x {height} pixels large")
        most = self.tiled_pixels if tiled else self.pixels
        if width * height > most or max(width, height) > MAX_SIDE:
            hint = "" if tiled else " Save it smaller, or as a tiled TIFF."
            raise Rejected(
                RejectionCode.TOO_MANY_PIXELS,
                f"The picture is {width:,} x {height:,} pixels large; {most:,} pixels is the most, "
                f"and {MAX_SIDE:,} on a side.{hint}",
            )

    def check_decoded(self, size: int) -> None:
        """Refuse what would be too many bytes in memory."""
        if size > self.decoded_bytes:
            raise Rejected(
                RejectionCode.TOO_LARGE,
                f"The picture takes {size:,} bytes once it is decoded; {self.decoded_bytes:,} is the most. "
                "Split it into several files, or save it as a tiled TIFF.",
            )


def corrupt(reason: str) -> Rejected:
    """The answer to a file that breaks its format's rules; `reason` begins in lower case, without a stop."""
    return Rejected(
        RejectionCode.CORRUPT,
        f"The file is damaged or incomplete: {reason}. Check the original, and upload it again.",
    )


def unsupported(reason: str) -> Rejected:
    return Rejected(
        RejectionCode.UNSUPPORTED_FORMAT,
        f"This kind of file can't be read: {reason}. "
        "Upload a JPEG, PNG, TIFF (OME-TIFF and BigTIFF too), BMP or WebP.",
    )


def forbidden(reason: str) -> Rejected:
    return Rejected(
        RejectionCode.FORBIDDEN_CONTENT,
        f"The file has content that is not accepted: {reason}. Save it anew without that.",
    )
