"""What a TIFF says of itself beside OME: tags, ImageJ, MetaMorph, Zeiss LSM, Aperio."""

import re
from typing import Any

from bioscope_gql.storage.pixels import ome
from bioscope_gql.storage.pixels.found import moment, number, pixel_size

_UNITS = {2: 25_400.0, 3: 10_000.0}
"""Micrometres in an inch and a centimetre, by ResolutionUnit."""

COARSEST_MICROMETRES = 20.0
"""A resolution coarser than this (1270 dpi) is a screen's or a printer's, not a microscope's."""

_MICRONS = {"micron", "microns", "um", "µm", "μm", "\\u00b5m", "micrometer", "micrometre"}
_APERIO = re.compile(r"\b(MPP|AppMag)\s*=\s*([\d.]+)")


def read(file: Any) -> tuple[tuple[float, float] | None, Any, dict[str, Any]]:
    """Pixel size in micrometres, time of capture, and what else is worth telling, of tifffile's file."""
    page = file.pages.first
    says: dict[str, Any] = {
        name: _text(page, code) for name, code in (("make", 271), ("model", 272), ("software", 305))
    }
    says |= _ome(page, file) | _others(page, file)
    written = says.pop("captured", None) or _text(page, 306)
    size = says.pop("pixelSize", None) or _resolution(page)
    if written:
        says["capturedAt"] = str(written)
    return size, moment(written), says


def _ome(page: Any, file: Any) -> dict[str, Any]:
    return {"ome": True, **ome.read(page.description)} if file.is_ome else {}


def _others(page: Any, file: Any) -> dict[str, Any]:
    """At most one of these applies; what can't be parsed says nothing."""
    for applies, read_one in (
        (file.is_imagej, _imagej),
        (file.is_stk, _metamorph),
        (file.is_lsm, _zeiss),
        (page.is_svs, _aperio),
    ):
        if applies:
            try:
                return read_one(page, file)
            except (ValueError, TypeError, LookupError, ArithmeticError, OSError):
                return {}
    return {}


def _imagej(page: Any, file: Any) -> dict[str, Any]:
    says = file.imagej_metadata or {}
    found: dict[str, Any] = {"imagej": True, "zStep": number(says.get("spacing"))}
    if str(says.get("unit", "")).lower() in _MICRONS:
        across, down = (_per_unit(page, code) for code in (282, 283))
        found["pixelSize"] = pixel_size(1 / across, 1 / down) if across and down else None
    return found


def _metamorph(_page: Any, file: Any) -> dict[str, Any]:
    says = file.stk_metadata or {}
    found: dict[str, Any] = {"metamorph": True}
    if str(says.get("CalibrationUnits", "")).lower() in _MICRONS:
        found["pixelSize"] = pixel_size(says.get("XCalibration"), says.get("YCalibration"))
    return found


def _zeiss(_page: Any, file: Any) -> dict[str, Any]:
    says = file.lsm_metadata or {}
    across, down = (number(says.get(f"VoxelSize{axis}")) for axis in "XY")
    size = pixel_size(across * 1e6, down * 1e6) if across and down else None
    return {"lsm": True, "pixelSize": size}


def _aperio(page: Any, _file: Any) -> dict[str, Any]:
    said = dict(_APERIO.findall(page.description[:10_000]))
    return {
        "aperio": True,
        "pixelSize": pixel_size(said.get("MPP"), said.get("MPP")),
        "magnification": number(said.get("AppMag")),
    }


def _resolution(page: Any) -> tuple[float, float] | None:
    unit = page.tags.valueof(296, 2)
    across, down = (_per_unit(page, code) for code in (282, 283))
    scale = _UNITS.get(int(unit)) if isinstance(unit, int) else None
    if not scale or not across or not down:
        return None
    size = pixel_size(scale / across, scale / down)
    return size if size and max(size) < COARSEST_MICROMETRES else None


def _per_unit(page: Any, code: int) -> float | None:
    match page.tags.valueof(code):
        case (int() as above, int() as below) if below:
            return number(above / below)
    return None


def _text(page: Any, code: int) -> str | None:
    value = page.tags.valueof(code)
    return value if isinstance(value, str) else None
