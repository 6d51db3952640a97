"""How pictures are listed: what the contract's ImageFilter and ImageOrder mean."""

from collections.abc import Iterator, Sequence

from bioscope_gql.db import Args
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import words
from bioscope_gql.resolvers.paging import (
    CREATED_AT,
    Listing,
    Order,
    Part,
    Term,
    Wanted,
    Wish,
    compare,
    naming,
)
from bioscope_gql.tables import ClassificationResult, Image

_compared = compare(
    {
        "content_type": "content_type =",
        "created_after": "created_at >=",
        "created_before": "created_at <",
        "captured_after": "captured_at >=",
        "captured_before": "captured_at <",
    }
)
_KEYS = {"dataset_id": "dataset", "device_id": "device"}
_MODEL = ("model_name", "model_version")
_VERDICT = ("label", "confidence_at_least", "confidence_at_most")
_VERDICTS = ("analyzed", *_VERDICT)


def conditions(wanted: Wanted, args: Args, alias: str) -> list[str]:
    """Verdicts are those of the newest result: of any model, or of the one that the filter names."""
    found = _compared(wanted, args, alias)
    for name, column in _KEYS.items():
        if name in wanted:
            found.append(f"{alias}.{column} = {args(words.read_id(wanted[name]))}")
    if "uploaded_by_id" in wanted:
        who = args(words.read_id(wanted["uploaded_by_id"]))
        found.append(f"{who} in ({alias}.uploaded_by, {alias}.uploaded_by_machine)")
    if wanted.get("search"):
        found.append(f"{alias}.search_text like {args(words.search_pattern(wanted['search']))}")
    if names_model(wanted):
        return [*found, *_judged_by_model(wanted, args, alias)]
    if "analyzed" in wanted:
        found.append(f"{alias}.latest_confidence is {'not ' if wanted['analyzed'] else ''}null")
    return [*found, *_verdict(wanted, args, f"{alias}.latest_label", f"{alias}.latest_confidence")]


def names_model(wanted: Wanted) -> bool:
    return any(name in wanted for name in _MODEL)


def of_model(wanted: Wanted, args: Args, alias: str) -> list[str]:
    """Which results are of the model that a filter names, by name, version or both."""
    return [f"{alias}.{name} = {args(wanted[name])}" for name in _MODEL if name in wanted]


def any_of_model(wanted: Wanted, args: Args, alias: str) -> list[str]:
    """Some results of that model, one at least of each picture that it judged; an index holds them."""
    marked = [f"{alias}.newest_of_version"] if "model_name" in wanted else []
    return [*of_model(wanted, args, alias), *marked]


def newest_of_model(wanted: Wanted, args: Args, alias: str) -> list[str]:
    """Which results are of that model, and the newest such of their picture."""
    if "model_name" in wanted:
        # The newest of a model is the newest of its version too, and the index holds no others.
        last = [] if "model_version" in wanted else [f"{alias}.newest_of_model"]
        return [*any_of_model(wanted, args, alias), *last]
    newer = [
        f"n.image = {alias}.image",
        *of_model(wanted, args, "n"),
        f"(n.created_at, n.id) > ({alias}.created_at, {alias}.id)",
    ]
    none_newer = f"not exists (select from classification_results n where {' and '.join(newer)})"
    return [*of_model(wanted, args, alias), none_newer]


def _judged_by_model(wanted: Wanted, args: Args, alias: str) -> Iterator[str]:
    if any(name in wanted for name in _VERDICT):
        which = [f"m.image = {alias}.id", *_verdicts_of_model(wanted, args, "m")]
        yield f"exists (select from classification_results m where {' and '.join(which)})"
    if "analyzed" in wanted:
        which = [f"m.image = {alias}.id", *any_of_model(wanted, args, "m")]
        no = "" if wanted["analyzed"] else "not "
        yield f"{no}exists (select from classification_results m where {' and '.join(which)})"


def _verdicts_of_model(wanted: Wanted, args: Args, alias: str) -> list[str]:
    """Which results decide whether their pictures pass the filter, one of each picture."""
    found = [
        *newest_of_model(wanted, args, alias),
        *_verdict(wanted, args, f"{alias}.label", f"{alias}.confidence"),
    ]
    if "dataset_id" in wanted:
        found.append(f"{alias}.dataset = {args(words.read_id(wanted['dataset_id']))}")
    return found


def _verdict(wanted: Wanted, args: Args, label: str, confidence: str) -> list[str]:
    found = []
    if "label" in wanted:
        found.append(words.one_of(label, wanted["label"], args))
    if "confidence_at_least" in wanted:
        found.append(f"{confidence} >= {args(wanted['confidence_at_least'])}")
    if "confidence_at_most" in wanted:
        found.append(f"{confidence} <= {args(wanted['confidence_at_most'])}")
    return found


class Confidence(Order):
    """How sure the newest result is; of the model that the filter names, if it names one."""

    def part(self, listing: Listing, wanted: Wanted, args: Args, *, valued: bool) -> Part:
        if not names_model(wanted):
            return super().part(listing, wanted, args, valued=valued)
        analyzed = wanted.get("analyzed", valued)
        if valued:
            known = ["r.image = t.id", *_verdicts_of_model(wanted, args, "r")]
            known += [] if analyzed else ["false"]
            source, settled = "classification_results r, images t", (*_VERDICTS, "dataset_id")
            return Part(source, "r.confidence", known, "r.image", settled, "r")
        of_it = " and ".join(["r.image = t.id", *any_of_model(wanted, args, "r")])
        unknown = [f"not exists (select from classification_results r where {of_it})"]
        unknown += ["false"] if analyzed or any(name in wanted for name in _VERDICT) else []
        return Part("images t", "null::float8", unknown, settled=_VERDICTS)


_names_few = naming("search", "device_id", "uploaded_by_id")


def _covered(asked: Wish) -> bool:
    """By when they were taken, in the order in which they came: two indexes of that order hold it."""
    captured = {"captured_after", "captured_before"}
    told = asked.wanted.keys()
    return bool(captured & told) and told <= {*captured, "dataset_id"} and asked.order == "CREATED_AT"


def _pointed(asked: Wish) -> bool:
    by_confidence = asked.order == "CONFIDENCE" and asked.wanted.get("analyzed") is not False
    in_one_dataset = "dataset_id" in asked.wanted
    return _names_few(asked) or (names_model(asked.wanted) and not by_confidence and not in_one_dataset)


VERDICTS = Listing(ClassificationResult, conditions=_verdicts_of_model)


def _counted(viewer: Viewer, wanted: Wanted) -> Sequence[Term]:
    """Pictures that a named model judged are as many as its newest results, which one index counts."""
    told = {*_VERDICTS, *_MODEL, "dataset_id"}
    alike = viewer.is_person and names_model(wanted) and told.issuperset(wanted)
    if not alike or not any(name in wanted for name in _VERDICTS):
        return ()
    if wanted.get("analyzed", True):
        return [Term("+", VERDICTS, wanted)]
    if any(name in wanted for name in _VERDICT):
        return ()
    whose = {name: wanted[name] for name in _MODEL if name in wanted}
    where = {name: wanted[name] for name in ("dataset_id",) if name in wanted}
    return [Term("+", LISTING, where), Term("-", VERDICTS, whose | where)]


LISTING = Listing(
    Image,
    {
        "CREATED_AT": CREATED_AT,
        "CAPTURED_AT": Order("captured_at", words.read_time, nullable=True),
        "FILENAME": Order("filename"),
        "FILE_SIZE": Order("file_size", words.read_size),
        "CONFIDENCE": Confidence("latest_confidence", float, nullable=True),
    },
    conditions,
    pointed=_pointed,
    counted=_counted,
    covered=_covered,
)
