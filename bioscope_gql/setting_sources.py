"""Where settings come from, and what to say about those that do not fit."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

PREFIX = "BIOSCOPE_"
FILE = Path("bioscope.yaml")

Model = TypeVar("Model", bound=BaseModel)
Tree = dict[str, Any]
Place = tuple[str, ...]


@dataclass
class Found:
    """What the sources said: values, the source of each, and what could not be read at all."""

    values: Tree = field(default_factory=dict)
    origins: dict[Place, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def put(self, place: Place, value: object, origin: str) -> None:
        """Set one value; a later call wins."""
        tree = self.values
        for name in place[:-1]:
            below = tree.get(name)
            tree[name] = tree = below if isinstance(below, dict) else {}
        tree[place[-1]] = value
        self.origins[place] = origin

    def name(self, place: Place) -> str:
        """The setting as a person writes it, and where it was written."""
        for length in range(len(place), 0, -1):
            if origin := self.origins.get(place[:length]):
                return f"{'.'.join(place)} ({origin})"
        return ".".join(place)


def places(model: type[BaseModel], above: Place = ()) -> Iterator[Place]:
    """Where every single setting of `model` lies, in order, e.g. ``("kafka", "topics", "jobs")``."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from places(info.annotation, (*above, name))
        else:
            yield (*above, name)


def variable(place: Iterable[str]) -> str:
    """The environment variable of a setting."""
    return PREFIX + "__".join(place).upper()


def gather(
    model: type[BaseModel], config: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Found:
    """Read all sources, the weakest first."""
    found = Found()
    known = list(places(model))
    _read_yaml(found, config or _configured(environ))
    _read_variables(found, known, environ)
    for dotted, value in overrides.items():
        place = tuple(dotted.split("."))
        found.put(place, value, f"from --{place[-1].replace('_', '-')}")
    return found


def build(model: type[Model], found: Found) -> tuple[Model, dict[Place, str]]:
    """Validate; what is wrong is told by its place, and the default stands in its stead."""
    known = list(places(model))
    wrong: dict[Place, str] = {}
    for name in [name for name in found.values if name not in model.model_fields]:
        del found.values[name]
        wrong[name,] = _unknown(found, (name,), [(section,) for section in model.model_fields])
    for _ in range(3):
        try:
            return model(**found.values), wrong
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                loc = tuple(str(part) for part in detail["loc"])
                wrong[_setting(loc, known)] = _sentence(found, loc, detail, known)
                _remove(found.values, _setting(loc, known))
    return model(), wrong


def _setting(loc: Place, known: list[Place]) -> Place:
    """The setting in which an error lies, even deep within its value."""
    return next((place for place in known if loc[: len(place)] == place), loc)


def _remove(tree: Tree, place: Place) -> None:
    for name in place[:-1]:
        tree = tree.get(name, {})
    tree.pop(place[-1], None)


def _configured(environ: Mapping[str, str]) -> Path | None:
    named = environ.get("BIOSCOPE_CONFIG")
    return Path(named) if named else FILE if FILE.exists() else None


class _Loader(yaml.SafeLoader):
    """YAML in which a name that stands twice is an error, not a riddle."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value} stands there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_yaml(found: Found, file: Path | None) -> None:
    if file is None:
        return
    try:
        tree = _Loader(file.read_text("utf-8")).get_single_data()
    except OSError as error:
        found.problems.append(
            f"The settings file {file} can't be read: {error.strerror or error}. Check --config."
        )
        return
    except UnicodeDecodeError:
        found.problems.append(f"The settings file {file} is not UTF-8 text. Save it as UTF-8.")
        return
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        found.problems.append(
            f"The settings file {file} is not YAML: {_yaml_trouble(error)}. Correct it there."
        )
        return
    if tree is None:
        return
    if not isinstance(tree, dict):
        found.problems.append(f"The settings file {file} must have sections like app: and database:.")
        return
    _put_tree(found, tree, (), f"in {file}")


def _put_tree(found: Found, tree: Mapping[Any, Any], above: Place, origin: str) -> None:
    """A name without a value means the default."""
    for key, value in tree.items():
        place = (*above, str(key))
        if isinstance(value, Mapping):
            found.origins[place] = origin
            _put_tree(found, value, place, origin)
            if not value:
                found.put(place, {}, origin)
        elif value is not None:
            found.put(place, value, origin)


def _yaml_trouble(error: Exception) -> str:
    """Line and trouble without a copy of the line, which may hold a password."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it can't be understood"
    return f"line {mark.line + 1}: {problem}" if mark else str(problem)


def _read_variables(found: Found, known: list[Place], environ: Mapping[str, str]) -> None:
    """Files of secrets first, so that a variable of the same setting wins. Empty ones count as not set."""
    one_underscore = {variable(place).replace("__", "_"): place for place in known}
    values = {}
    for name, value in sorted(environ.items()):
        upper = name.upper()
        if not upper.startswith(PREFIX) or not value:
            continue
        if "__" not in upper:
            if upper in one_underscore:
                right = variable(one_underscore[upper])
                found.problems.append(f"{name} sets nothing: write {right}, with two underscores.")
            continue
        place = tuple(upper.removeprefix(PREFIX).lower().split("__"))
        secret = (*place[:-1], place[-1].removesuffix("_file"))
        if place not in known and secret in known:
            _read_secret(found, secret, name, Path(value))
        else:
            values[place] = (value, f"from {name}")
    for place, (value, origin) in values.items():
        found.put(place, value, origin)


def _read_secret(found: Found, place: Place, name: str, file: Path) -> None:
    try:
        found.put(place, file.read_text("utf-8").rstrip("\r\n"), f"from the file of {name}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        found.problems.append(
            f"{name} names {file}, which can't be read: {reason}. Correct the path or its rights."
        )


def _sentence(found: Found, loc: Place, detail: ErrorDetails, known: list[Place]) -> str:
    name, kind, limit = found.name(loc), detail["type"], detail.get("ctx", {})
    shown = f", not {repr(detail['input'])[:60]}"
    if kind == "extra_forbidden":
        return _unknown(found, loc, known)
    if kind == "value_error":
        return f"{name} {limit['error']}."
    if kind.startswith("int_"):
        return f"{name} must be a whole number{shown}."
    if kind.startswith("bool_"):
        return f"{name} must be true or false{shown}."
    if kind == "literal_error":
        return f"{name} must be {limit['expected']}{shown}."
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {limit['ge']}" if "ge" in limit else f"at most {limit['le']}"
        return f"{name} must be {bound}{shown}."
    return f"{name} {_KINDS.get(kind) or 'does not fit: ' + detail['msg']}."


_KINDS = {
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be 3 to 63 lower-case letters, digits, dots or dashes",
    "model_type": "must have names and values under it, not one value",
    "model_attributes_type": "must have names and values under it, not one value",
    "tuple_type": "must be a list",
    "path_type": "must be the path of a file or folder",
    "missing": "is missing; add it",
}


def _unknown(found: Found, place: Place, known: list[Place]) -> str:
    names = [".".join(each) for each in known]
    near = difflib.get_close_matches(".".join(place), names, n=1, cutoff=0.6)
    near = near or [name for name in names if name.endswith(f".{place[-1]}")][:1]
    advice = f"did you mean {near[0]}" if near else "bioscope.example.yaml lists all of them"
    return f"{found.name(place)} is no setting: {advice}{'?' if near else '.'}"
