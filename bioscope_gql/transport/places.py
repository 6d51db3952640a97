"""Where in the variables of an upload each file belongs, as its `map` says."""

from collections.abc import Collection
from typing import Any, TypeAlias

from bioscope_gql.storage.uploads import UploadedFile
from bioscope_gql.transport.requests import Malformed

Place: TypeAlias = tuple[dict[str, Any], str] | tuple[list[Any], int]

SHOWN = 100
"""Characters of a client's text that an error repeats."""


class Places:
    """Every file of a request by the name of its part, with the one null that it takes the place of.

    The specification lets a file stand in several places. Here it may not: who takes a file may move
    it, and nothing would be left for the second one.
    """

    def __init__(self, mapping: object, variables: dict[str, Any], *, max_files: int) -> None:
        """
        Raises:
            Malformed: it is not an object of lists of one path each, there are too many of them, or a
                path does not lead to a null that no other file wants.
        """
        if not isinstance(mapping, dict):
            raise Malformed('The part `map` must be a JSON object such as {"0": ["variables.file"]}.')
        if len(mapping) > max_files:
            raise Malformed(f"The upload has {len(mapping):,} files; at most {max_files:,} may come at once.")
        self._places: dict[str, Place] = {}
        taken: set[str] = set()
        for name, paths in mapping.items():
            path = only_path(name, paths)
            if path in taken:
                raise Malformed(f"Two files are mapped to `{path[:SHOWN]}`. Give each a place of its own.")
            taken.add(path)
            self._places[name] = find(path, variables)
        self._missing = dict.fromkeys(self._places)

    @property
    def missing(self) -> Collection[str]:
        """The files that have not come yet."""
        return self._missing.keys()

    def expect(self, name: str) -> None:
        """Raise `Malformed` unless a file of that name is still to come."""
        if name not in self._places:
            raise Malformed(f"The part `{name[:SHOWN]}` is not in `map`. Send only files that are mapped.")
        if name not in self._missing:
            raise Malformed(f"The file `{name[:SHOWN]}` comes twice. Send each part once.")

    def put(self, name: str, file: UploadedFile) -> None:
        """Put an expected file where it belongs; the variables that were given change."""
        del self._missing[name]
        container, key = self._places[name]
        container[key] = file  # type: ignore[index]  # `find` saw that they go together


def only_path(name: str, paths: object) -> str:
    """The path of a file.

    Raises:
        Malformed: there is none, or more than one.
    """
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise Malformed(f'In `map`, `{name[:SHOWN]}` must have a list of paths such as ["variables.file"].')
    if len(paths) != 1:
        message = (
            f"The file `{name[:SHOWN]}` is mapped to {len(paths):,} places. Send it once for each place."
        )
        raise Malformed(message)
    path: str = paths[0]
    return path


def find(path: str, variables: dict[str, Any]) -> Place:
    """The place that a path such as `variables.input.files.0` leads to.

    Raises:
        Malformed: there is no such place, or something else than null stands there.
    """
    root, *steps = path.split(".")
    value: object = variables
    place: Place | None = None
    for step in steps if root == "variables" else ():
        place = inside(value, step)
        if place is None:
            break
        value = place[0][place[1]]  # type: ignore[index]  # as above
    if place is None:
        raise Malformed(f"There is no `{path[:SHOWN]}` in the operation. Put a null where the file belongs.")
    if value is not None:
        raise Malformed(f"`{path[:SHOWN]}` is something else than null. Put a null where the file belongs.")
    return place


def inside(value: object, step: str) -> Place | None:
    """The member or element of that name; None where there is none. An index is written one way only."""
    if isinstance(value, dict):
        return (value, step) if step in value else None
    if isinstance(value, list) and step.isdecimal() and len(step) < len(str(len(value))) + 1:
        index = int(step)
        return (value, index) if str(index) == step and index < len(value) else None
    return None
