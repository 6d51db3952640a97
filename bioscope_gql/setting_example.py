"""The text of `bioscope.example.yaml`, made from the settings themselves."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from bioscope_gql.setting_values import size_text
from bioscope_gql.settings import Settings

HEAD = """\
# Every setting of BioScope GQL with its default. Copy this file to bioscope.yaml and take the # away
# from what you change. Each setting is also a variable, which wins: BIOSCOPE_<SECTION>__<NAME>, for example
# BIOSCOPE_DATABASE__DSN; or BIOSCOPE_<SECTION>__<NAME>_FILE with the path of a file that holds the value.
# Lists may be written with commas between; sizes as 256 MiB or as a number of bytes.
"""


def example() -> str:
    """The whole file; taking the `#` away from each `#name: value` changes nothing."""
    return "\n".join((HEAD, *_lines(Settings, Settings(), 0)))


def _lines(model: type[BaseModel], values: BaseModel, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, info in model.model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            yield from _comment(type(value).__doc__ or "", indent)
            yield f"{indent}{name}:"
            yield from _lines(type(value), value, depth + 1)
            if depth == 0:
                yield ""
        else:
            yield from _comment(info.description or "", indent)
            yield f"{indent}#{name}: {_written(name, value)}".rstrip()


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), 106 - len(indent)):
        yield f"{indent}# {line}"


def _written(name: str, value: object) -> str:
    if value is None:
        return ""
    if name.endswith("_bytes") and isinstance(value, int):
        return size_text(value)
    if isinstance(value, Path):
        return str(value)
    text = json.dumps(value)
    return text.strip('"') if isinstance(value, str) and value.strip("{}") == value else text
