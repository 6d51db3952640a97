"""The three small pictures that stand for a large one."""

import io

from PIL import Image

from bioscope_gql.vocabulary import THUMBNAIL_PIXELS, ThumbnailSize

QUALITY = 80
METHOD = 2
"""Half the time of the encoder's own choice, for a few more bytes."""


def thumbnails(picture: Image.Image) -> dict[ThumbnailSize, bytes]:
    """WebP of each size, never enlarged, without any metadata. `picture` is L or RGB and is used up."""
    made = {}
    for size in sorted(ThumbnailSize, key=THUMBNAIL_PIXELS.__getitem__, reverse=True):
        picture.thumbnail((THUMBNAIL_PIXELS[size],) * 2, reducing_gap=2.0)
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=QUALITY, method=METHOD, exif=b"", xmp=b"", icc_profile=None)
        made[size] = file.getvalue()
    return made
