"""How large a document may be: counted once, in linear time, whatever is nested."""

import time
from collections.abc import Callable

import pytest
from graphql import DocumentNode, build_schema, parse

from bioscope_gql.transport.documents import BYTES_PER_CHARACTER, Documents, InvalidDocument
from bioscope_gql.transport.limits import Limits, TooComplex, refuse_large, root_fields
from bioscope_gql.transport.requests import Malformed, parse_json

SCHEMA = build_schema("type Query { a(x: [[Int]]): Query b: Int id: ID name: String }")


def nested(depth: int) -> str:
    return "{" + "a{" * (depth - 1) + "b" + "}" * depth


def exactly(limit: str, amount: int) -> str:
    """A document that has `amount` of what is limited."""
    makers: dict[str, Callable[[int], str]] = {
        "depth": nested,
        "fields": lambda n: "{" + "b " * n + "}",
        "aliases": lambda n: "{" + " ".join(f"x{i}: b" for i in range(n)) + "}",
        "directives": lambda n: "{ b " + "@include(if: true) " * n + "}",
        "operations": lambda n: " ".join(f"query Q{i} {{ b }}" for i in range(n)),
        "fragments": lambda n: (
            "{"
            + "".join(f"...F{i} " for i in range(n))
            + "}"
            + "".join(f"fragment F{i} on Query {{ b }}" for i in range(n))
        ),
    }
    return makers[limit](amount)


@pytest.mark.parametrize("limit", ["depth", "fields", "aliases", "directives", "operations", "fragments"])
def test_as_much_as_is_allowed_passes_and_one_more_does_not(limit: str) -> None:
    limits = Limits()
    most = getattr(limits, limit)

    refuse_large(parse(exactly(limit, most)), limits)
    with pytest.raises(TooComplex) as refused:
        refuse_large(parse(exactly(limit, most + 1)), limits)

    assert refused.value.extensions == {
        "code": "QUERY_TOO_COMPLEX",
        "limit": limit,
        "maximum": most,
        "actual": most + 1,
    }
    assert refused.value.message.endswith("Ask for less at once.")


def doubling(levels: int) -> str:
    """Each fragment spreads the next one twice: 2 to the power of `levels` fields."""
    parts = [
        f"fragment F{i} on Query {{ a {{ ...F{i + 1} }} c: a {{ ...F{i + 1} }} }}" for i in range(levels)
    ]
    return "{ ...F0 }" + "".join(parts) + f"fragment F{levels} on Query {{ b }}"


def test_fragments_count_wherever_they_are_spread_and_cost_no_time() -> None:
    document = parse(doubling(58))
    limits = Limits(depth=10_000, aliases=10**30)

    begun = time.perf_counter()
    with pytest.raises(TooComplex) as refused:
        refuse_large(document, limits)

    assert time.perf_counter() - begun < 0.1
    assert refused.value.limit == "fields"
    assert "more than a trillion" in refused.value.message
    assert refused.value.actual == 2**53 - 1


def test_depth_goes_on_through_fragments() -> None:
    document = parse(
        "{ a { ...F } } fragment F on Query { a { ... { a { ...G } } } } fragment G on Query { b }"
    )

    refuse_large(document, Limits(depth=4))
    with pytest.raises(TooComplex):
        refuse_large(document, Limits(depth=3))


def test_a_cycle_of_fragments_is_left_to_validation() -> None:
    query = "{ ...F } fragment F on Query { a { ...G } } fragment G on Query { a { ...F } }"
    refuse_large(parse(query), Limits())

    with pytest.raises(InvalidDocument) as refused:
        Documents(SCHEMA, Limits(), introspection=True).find(query, None)

    assert refused.value.errors[0]["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}


def test_introspection_counts_for_everything_but_depth() -> None:
    inner = "name ofType {" * 8 + "name" + "}" * 8
    query = f"{{ __schema {{ types {{ fields {{ type {{ {inner} }} }} }} }} }}"
    document = parse(query)

    refuse_large(document, Limits(depth=1))
    with pytest.raises(TooComplex) as refused:
        refuse_large(document, Limits(fields=10))
    assert refused.value.limit == "fields"


def test_root_fields_are_found_through_fragments() -> None:
    document: DocumentNode = parse("{ x: a { b } ... { b } ...F } fragment F on Query { __typename ...F }")
    [operation, _] = document.definitions
    assert set(root_fields(operation, document)) == {"a", "b", "__typename"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("{ b } #" + "x" * 65_536, "bytes"),
        ("{" + "b " * 3_000 + "}", "tokens"),
        ("#\n" * 3_000 + "{ b }", "tokens"),
    ],
)
def test_a_long_text_is_not_parsed(query: str, limit: str) -> None:
    with pytest.raises(TooComplex) as refused:
        Documents(SCHEMA, Limits(), introspection=True).find(query, None)
    assert refused.value.limit == limit


@pytest.mark.parametrize(
    "query",
    [
        "{" + "a{" * 900 + "b" + "}" * 901,
        "{ a(x: " + "[" * 900 + "]" * 900 + ") { b } }",
        "query($x: " + "[" * 900 + "Int" + "]" * 900 + ") { b }",
    ],
)
def test_a_document_that_is_nested_deeply_is_refused_like_any_other(query: str) -> None:
    with pytest.raises((InvalidDocument, TooComplex)):
        Documents(SCHEMA, Limits(), introspection=True).find(query, None)


def spread(count: int, selection: str) -> str:
    """Fragments of one object that select the same of it, as those of the parts of a page do."""
    fragments = "".join(f"fragment F{i} on Query {{ {selection} }}" for i in range(count))
    return "{ a {" + "".join(f"...F{i} " for i in range(count)) + "} }" + fragments


@pytest.mark.parametrize(
    "query",
    [
        "{" + "b " * 140 + "}",
        "{" + "a{" + "b " * 100 + "} " + "a{b} " * 20 + "}",
        "{" + "...F " * 60 + "}" + "fragment F on Query {" + "b " * 8 + "}",
        "{" + "a(x:[1]){b} " * 70 + "}",
        spread(60, "id name __typename"),
        spread(30, "id name __typename a { id } c: b d: b e: b"),
        doubling(7),
    ],
)
def test_the_dearest_documents_that_are_allowed_take_no_second_to_check(query: str) -> None:
    documents = Documents(SCHEMA, Limits(aliases=10_000), introspection=True)
    begun = time.perf_counter()
    documents.find(query, None)
    assert time.perf_counter() - begun < 1.0


@pytest.mark.parametrize(
    "query",
    [
        "{" + "b " * 500 + "}",
        "{" + "a(x:[1]){b} a(x:[2]){b} " * 90 + "}",
        "{" + "a{" + "b " * 200 + "} " + "a{b} " * 40 + "}",
        "{" + "a(x:[1]){b} " * 120 + "}",
        spread(60, "a(x: [1]) { b } id name"),
    ],
)
def test_fields_of_one_name_are_compared_only_so_often(query: str) -> None:
    with pytest.raises(TooComplex) as refused:
        Documents(SCHEMA, Limits(), introspection=True).find(query, None)
    assert refused.value.extensions == {
        "code": "QUERY_TOO_COMPLEX",
        "limit": "comparisons",
        "maximum": 20_000,
    }


def test_what_cannot_be_merged_is_told_where_it_stands() -> None:
    with pytest.raises(InvalidDocument) as refused:
        Documents(SCHEMA, Limits(), introspection=True).find("{ a(x: [1]) { b } a(x: [2]) { b } }", None)
    [error] = refused.value.errors
    assert "differing arguments" in error["message"]
    assert error["locations"] == [{"line": 1, "column": 3}, {"line": 1, "column": 19}]


def test_many_conflicts_are_no_matter_of_size() -> None:
    query = "{" + " ".join(f"a{n}: b a{n}: id" for n in range(25)) + "}"
    with pytest.raises(InvalidDocument) as refused:
        Documents(SCHEMA, Limits(aliases=100), introspection=True).find(query, None)
    assert "error limit reached" in refused.value.errors[-1]["message"]


def test_a_document_is_checked_once_and_forgotten_when_there_are_too_many() -> None:
    documents = Documents(SCHEMA, Limits(cached_document_bytes=BYTES_PER_CHARACTER * 20), introspection=True)
    first = documents.find("{ b }", None)
    assert documents.find("{ b }", None) is first

    documents.find("query Other { b }", None)

    assert documents.find("{ b }", None) is not first


@pytest.mark.parametrize(("depth", "is_fine"), [(1, True), (100, True), (101, False), (1_000, False)])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"x":', "}"), ('["[{", ', "]")])
@pytest.mark.parametrize("innermost", ["{}", "1"])
def test_json_is_no_deeper_than_allowed(
    depth: int, is_fine: bool, opening: str, closing: str, innermost: str
) -> None:
    levels = depth - (innermost == "{}")
    text = opening * levels + innermost + closing * levels

    if is_fine:
        parse_json(text, max_depth=100)
        parse_json(text.encode(), max_depth=100)
    else:
        with pytest.raises(Malformed):
            parse_json(text, max_depth=100)
