"""The thumbnails of a folder's pictures on one sheet, to be looked at: what intake makes of each file.

    python tools/contact_sheet.py FOLDER SHEET.png [--size SMALL|MEDIUM|LARGE]

Files that are refused are listed with their code and sentence.
"""

import argparse
import asyncio
import io
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from bioscope_gql.errors import Rejected
from bioscope_gql.settings import Limits
from bioscope_gql.storage.intake import Intake
from bioscope_gql.vocabulary import THUMBNAIL_PIXELS, ThumbnailSize

COLUMNS = 10
CAPTION = 16
OTHER = {".csv", ".md", ".txt", ".json"}


async def thumbnails(folder: Path, names: list[str], size: ThumbnailSize) -> list[tuple[str, Image.Image]]:
    """Name and thumbnail of each file that is accepted, in the order of `names`."""
    found = []
    async with Intake(Limits()) as intake:
        for name in names:
            try:
                picture = await intake.examine(folder / name)
            except Rejected as rejected:
                print(f"{name}: {rejected.code}, {rejected.message}")
                continue
            found.append((name, Image.open(io.BytesIO(picture.thumbnails[size])).convert("RGB")))
    return found


def sheet(pictures: list[tuple[str, Image.Image]], pixels: int) -> Image.Image:
    """All of them in rows, each above the end of its name."""
    rows = -(-len(pictures) // COLUMNS)
    made = Image.new("RGB", (COLUMNS * (pixels + 4), rows * (pixels + CAPTION)), "white")
    draw = ImageDraw.Draw(made)
    for place, (name, picture) in enumerate(pictures):
        x, y = place % COLUMNS * (pixels + 4), place // COLUMNS * (pixels + CAPTION)
        made.paste(picture, (x, y))
        draw.text((x, y + pixels + 1), name[-pixels // 6 :], "black")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--size", type=ThumbnailSize, default=ThumbnailSize.SMALL)
    args = parser.parse_args()
    files = [path for path in args.folder.rglob("*") if path.is_file() and path.suffix not in OTHER]
    names = sorted(str(path.relative_to(args.folder)) for path in files)
    pictures = asyncio.run(thumbnails(args.folder, names, args.size))
    sheet(pictures, THUMBNAIL_PIXELS[args.size]).save(args.sheet)
    print(f"{len(pictures)} thumbnails: {args.sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
