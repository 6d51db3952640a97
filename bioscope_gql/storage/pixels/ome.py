"""OME-XML: what microscopes say of a picture, if it can be trusted not to explode."""

import xml.etree.ElementTree as ET
from typing import Any

from bioscope_gql.errors import Rejected
from bioscope_gql.storage.pixels.bounds import forbidden
from bioscope_gql.storage.pixels.found import number, pixel_size
from bioscope_gql.vocabulary import RejectionCode

MAX_CHARACTERS = 16 * 1024 * 1024

_MICROMETRES = {
    "m": 1e6, "cm": 1e4, "mm": 1e3, "nm": 1e-3, "pm": 1e-6, "Å": 1e-4,
    "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0,
}  # fmt: skip


def check(description: str) -> None:
    """Refuse text that a parser must not see, before any library parses it unasked.

    Raises:
        Rejected: it defines entities, or is far too long.
    """
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        raise forbidden("its OME-XML defines a document type or entities")
    if len(description) > MAX_CHARACTERS:
        raise Rejected(
            RejectionCode.TOO_LARGE,
            f"The file's description has {len(description):,} characters; {MAX_CHARACTERS:,} is the most.",
        )


def read(description: str) -> dict[str, Any]:
    """What it says of the first picture: `pixelSize` (micrometres), `captured`, and for people to read
    objective, channels and so on. Empty if it is no OME-XML; what can't be understood is left out."""
    try:
        root = ET.fromstring(description)  # noqa: S314 -- checked before
    except (ET.ParseError, ValueError, RecursionError):
        return {}
    space = {"o": root.tag[1:].partition("}")[0] if root.tag.startswith("{") else ""}
    image = root.find("o:Image", space)
    if image is None:
        return {}
    says: dict[str, Any] = {
        "name": image.get("Name"),
        "captured": image.findtext("o:AcquisitionDate", None, space),
    }
    pixels = image.find("o:Pixels", space)
    if pixels is not None:
        says |= _pixels(pixels, space)
    return says | _objective(root, image, space) | _instrument(root, space)


def _pixels(pixels: ET.Element, space: dict[str, str]) -> dict[str, Any]:
    size = {axis: _length(pixels, axis) for axis in "XYZ"}
    channels = pixels.findall("o:Channel", space)
    says: dict[str, Any] = {
        "pixelSize": pixel_size(size["X"], size["Y"]),
        "zStepMicrometres": size["Z"],
        "significantBits": _whole(pixels.get("SignificantBits")),
        "dimensionOrder": pixels.get("DimensionOrder"),
        "timeIncrement": number(pixels.get("TimeIncrement")),
    }
    if any(channel.get("Name") for channel in channels):
        says["channelNames"] = [channel.get("Name") or "" for channel in channels]
    for name in ("Fluor", "EmissionWavelength", "ExcitationWavelength", "AcquisitionMode"):
        if any(channel.get(name) for channel in channels):
            says[name[0].lower() + name[1:]] = [channel.get(name) for channel in channels]
    return says


def _length(pixels: ET.Element, axis: str) -> float | None:
    value = number(pixels.get(f"PhysicalSize{axis}"))
    unit = _MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    return value * unit if value and unit else None


def _objective(root: ET.Element, image: ET.Element, space: dict[str, str]) -> dict[str, Any]:
    settings = image.find("o:ObjectiveSettings", space)
    for objective in root.iterfind("o:Instrument/o:Objective", space):
        if settings is None or objective.get("ID") == settings.get("ID"):
            return {
                "objective": objective.get("Model"),
                "objectiveManufacturer": objective.get("Manufacturer"),
                "magnification": number(objective.get("NominalMagnification")),
                "numericalAperture": number(objective.get("LensNA")),
                "immersion": objective.get("Immersion"),
            }
    return {}


def _instrument(root: ET.Element, space: dict[str, str]) -> dict[str, Any]:
    says: dict[str, Any] = {"creator": root.get("Creator")}
    for kind in ("Microscope", "Detector"):
        part = root.find(f"o:Instrument/o:{kind}", space)
        if part is not None:
            words = (part.get("Manufacturer"), part.get("Model"))
            says[kind.lower()] = " ".join(word for word in words if word)
    return says


def _whole(value: str | None) -> int | None:
    found = number(value)
    return int(found) if found else None
