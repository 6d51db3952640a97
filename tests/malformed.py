"""Requests that no honest client sends, as data: what is wrong with each, and its bytes."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

JSON = "application/json"
PREFLIGHT = {"graphql-require-preflight": "1"}


@dataclass(frozen=True)
class Sent:
    """One request: method, address, headers and body."""

    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": JSON})
    method: str = "POST"
    path: str = "/graphql"


WRONG: list[object] = [None, True, False, 0, -1, 1.5, 1e300, "", "x", [], [[]], ["{ hello }"], {}, {"a": {}}]

BODIES = [
    b"", b" ", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf{}", b"{", b"}", b"[", b"]", b'"', b"nul", b"NaN",
    b"Infinity", b"-Infinity", b"1e999", b"'a'", b"{'query': 1}", b'{"query"}', b'{"query": }',
    b'{"query": "{ hello }",}', b'{"query": "{ hello }"} x', b'{"query": "{ hello }"}{}',
    b'{"query": "\\ud800"}', b'{"query": "\xed\xa0\x80"}', b'{"query": "\\u0000"}',
    b'{"query": "{ hello }", "query": 1}', b"query={ hello }", b"<xml/>", b"[" * 5_000, b'{"a":' * 5_000,
    b"[" * 200 + b"]" * 200, b"[{}]", b"[[]]", b'[{"query": "{ hello }"}]', b"9" * 5_000,
    b'"' + b"x" * 50_000 + b'"', b"\x1f\x8b\x08\x00", b"--x\r\n", b"%7B%7D", b"\r\n\r\n", b"{}\x00",
]  # fmt: skip

DOCUMENTS = [
    "", " ", "#", "{", "}", "{}", "{ }", "query", "query {", "query { }", "mutation", "subscription",
    "fragment", "fragment F", "fragment F on", "fragment F on Query { hello }",
    "fragment on on Query { hello }", "{ ...F }", "{ ...F } fragment F on Query { ...F }",
    "{ ...F } fragment F on Nothing { hello }", "{ ... on }", "{ ... }",
    "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }", "{ hello hello: me }",
    "{ hello { x } }", "{ nothing }", "{ hello(nothing: 1) }", "{ hello(name: 1) }",
    "{ hello(name: {a: 1}) }", "{ hello(name: $x) }", "query ($x: Nothing) { hello }",
    "query ($x: Int, $x: Int) { hello }", "query ($x: Int = $y) { hello }",
    "query A { hello } query A { hello }", "query A { hello } { hello }", "{ hello } { hello }", "{ text }",
    "{ text(length: 99999999999999999999) }", "{ text(length: 1.5) }", '{ hello(name: "\\x") }',
    '{ hello(name: ")', '{ hello(name: """) }', "{ hello @nothing }", "{ hello @skip }",
    "{ hello @skip(if: 1) }", "{ hello @include }", "{ hello @skip(if: true) @skip(if: true) }",
    "query @skip(if: true) { hello }", "{ __schema }", "{ __type }", "{ __type(name: 1) { name } }",
    "{ __nothing }", "type Query { a: Int }", "schema { query: Query }", "extend type", "{ hello }\x00",
    "{ \ufeff }", "{ hel\u200blo }", "\ud83d\ude00", "{ \ud83d\ude00 }", "{ hello(: 1) }", "{ : hello }",
    "{ a: }", "{ hello ... hello }", "&", "|", "!", "$", "query($x: [[[[[Int]]]]]) { hello }",
    "mutation { hello }", "{ touch }", "subscription { count(to: 1) ticks }", "subscription { hello }",
    "subscription { __typename }", "{ hello " * 300, "{ " * 300 + "}" * 300, "{ " + "hello " * 600 + "}",
    "{ " + " ".join(f"a{n}: hello" for n in range(40)) + "}", "{ hello" + " @skip(if: false)" * 60 + " }",
    "#" * 70_000, "{ hello }" + "#\n" * 3_000, "{" + "," * 70_000 + "}",
    " ".join(f"query Q{n} {{ hello }}" for n in range(12)),
    ("{ ...F0 } " + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(25))
     + " fragment F25 on Query { hello }"),
    "{ hello } " + " ".join(f"fragment F{n} on Query {{ hello }}" for n in range(70)),
]  # fmt: skip

MEDIA = [
    "", "application", "application/", "/json", "text/plain", "text/html", "application/xml",
    "application/graphql", "application/x-www-form-urlencoded", "multipart/form-data",
    "multipart/form-data; boundary=", "multipart/mixed", "application/json; charset=utf-16",
    "application/json; charset=latin-1", 'application/json; charset="', ";;;",
    "application/json, application/json", "application/jsonp", "*/*", "x" * 2_000,
    "multipart/form-data; boundary=x" * 9,
]  # fmt: skip

ACCEPTS = [
    "text/plain", "image/*", "application/json;q=0", "*/*;q=0", ";", "q=1", "application/xml;q=nan",
    "a/b/c",
]  # fmt: skip
METHODS = [
    "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY",
]  # fmt: skip

ADDRESSES = [
    "", "?", "?query", "?query=", "?query=%", "?query=%ff", "?query=%00", "?query={",
    "?query={hello}&query={hello}", "?query={hello}&variables=", "?query={hello}&variables=x",
    "?query={hello}&variables=[]", "?variables={}", "?query={hello}&variables=1",
    "?query={hello}&extensions=x", "?query={hello}&extensions=[]", "?operationName=x",
    "?query={hello}&operationName=nothing", "?query=mutation{touch}", "?query=subscription{ticks}",
    "?&&&=&=", "?query={hello}&variables={%22a%22:", "?query=" + "{a" * 2_000,
    "?query={hello}&variables=" + "[" * 3_000,
]  # fmt: skip

OPERATIONS: list[object] = [
    None, 1, "x", [], {}, {"query": None}, {"query": "{"},
    {"query": "mutation($f: Upload!) { upload(file: $f) { size } }"},
    {"query": "mutation($f: Upload!) { upload(file: $f) { size } }", "variables": {"f": None}},
    {"query": "mutation($f: Upload!) { upload(file: $f) { size } }", "variables": {"f": "x"}},
    {"query": "mutation($f: [Upload!]!) { uploads(files: $f) { size } }", "variables": {"f": [None, None]}},
]  # fmt: skip
MAPS: list[object] = [
    None, 1, "x", [], {}, {"0": None}, {"0": 1}, {"0": "variables.f"}, {"0": []}, {"0": [1]}, {"0": [""]},
    {"0": ["variables"]}, {"0": ["variables.g"]}, {"0": ["variables.f.0.0"]},
    {"0": ["variables.f", "variables.f"]}, {"1": ["variables.f"]}, {"0": ["query"]},
    {"0": ["variables.f.-1"]}, {"0": ["variables.f.99999999999999"]}, {"0": ["__proto__.f"]}, {"": [""]},
]  # fmt: skip


def form(parts: list[tuple[str, bytes]]) -> Sent:
    body = b"".join(
        b'--x\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in parts
    )
    return Sent(body + b"--x--\r\n", {"content-type": "multipart/form-data; boundary=x", **PREFLIGHT})


def everything() -> Iterator[Sent]:
    good = {"query": "{ hello }"}
    yield from map(Sent, BODIES)
    for name, value in itertools.product(("query", "operationName", "variables", "extensions"), WRONG):
        if not (value is None or (name in ("variables", "extensions") and isinstance(value, dict))):
            yield Sent(json.dumps({**good, name: value}).encode())
    for document in DOCUMENTS:
        yield Sent(json.dumps({"query": document}).encode())
    yield from headers()
    for method in METHODS:
        yield Sent(json.dumps(good).encode(), method=method)
    for address in ADDRESSES:
        yield Sent(headers={}, method="GET", path=f"/graphql{address}")
    yield from forms()


def headers() -> Iterator[Sent]:
    body = json.dumps({"query": "{ hello }"}).encode()
    for media in MEDIA:
        yield Sent(body, {"content-type": media})
    for encoding in ("gzip", "br", "identity, gzip", "x"):
        yield Sent(body, {"content-type": JSON, "content-encoding": encoding})
    for accept in ACCEPTS:
        yield Sent(body, {"content-type": JSON, "accept": accept})


def forms() -> Iterator[Sent]:
    for operations, places in itertools.product(OPERATIONS, MAPS):
        parts = [("operations", json.dumps(operations).encode()), ("map", json.dumps(places).encode())]
        yield form([*parts, ("0", b"bytes")])
    yield form([])
    yield form([("0", b"x")])
    yield form([("map", b"{}")])
    yield form([("operations", b"{")])
    yield form([("operations", b"\xff"), ("map", b"{}")])
    multipart = {"content-type": "multipart/form-data; boundary=x", **PREFLIGHT}
    for body in (b"", b"--x", b"--x--", b"--y\r\n", b"--x\r\n\r\n"):
        yield Sent(body, multipart)
    yield Sent(b"--x\r\ncontent-disposition: form-data\r\n\r\n1\r\n--x--", multipart)
