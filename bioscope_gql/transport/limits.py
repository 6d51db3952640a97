"""How much one client may ask for, and the pass over a document that counts it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from bioscope_gql.errors import Refusal

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
INTROSPECTION_FIELDS = frozenset({"__schema", "__type"})


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds, the rest in pieces. The defaults are the contract's."""

    requests: int = 200
    """At work at the same time in one replica."""
    body_bytes: int = MIB
    body_stall_seconds: float = 60.0
    json_depth: int = 100

    query_bytes: int = 64 * KIB
    tokens: int = 2_000
    depth: int = 12
    fields: int = 500
    aliases: int = 30
    directives: int = 50
    operations: int = 10
    fragments: int = 60
    comparisons: int = 20_000
    """Steps of finding out whether fields of the same name can be merged; see `overlaps.py`."""
    cost: int = 50_000
    operation_seconds: float = 20.0
    """Of a query. Uploads and runs over large datasets may take longer, and their statements have limits."""
    cached_document_bytes: int = 32 * MIB

    upload_request_bytes: int = 5 * GIB // 2
    upload_field_bytes: int = MIB
    upload_files: int = 100
    file_bytes: int = 256 * MIB
    tiff_bytes: int = 2 * GIB

    socket_message_bytes: int = MIB
    socket_messages: int = 6_000
    socket_bytes: int = 64 * MIB
    """What one socket may send within a minute. It opens 50 operations with documents of 64 KiB by 3 MiB."""
    socket_operations: int = 50
    account_messages: int = 30_000
    account_bytes: int = 256 * MIB
    """What all sockets of one account may send to one replica within a minute."""
    account_connections: int = 100
    """Sockets and event streams of one account in one replica."""
    account_operations: int = 500
    """What runs on all of these sockets together."""
    socket_init_seconds: float = 10.0
    socket_send_seconds: float = 30.0
    socket_check_seconds: float = 3.0
    socket_ping_seconds: float = 30.0
    socket_close_seconds: float = 5.0
    stream_heartbeat_seconds: float = 12.0


@dataclass(eq=False)
class TooComplex(Refusal):
    """The document is too large; `limit` names what there is too much of."""

    code: str = "QUERY_TOO_COMPLEX"
    limit: str = ""
    maximum: int = 0
    actual: int | None = None

    @property
    def extensions(self) -> dict[str, object]:
        known = {"actual": self.actual} if self.actual is not None else {}
        return {"code": self.code, "limit": self.limit, "maximum": self.maximum, **known}


def refuse_above(limit: str, maximum: int, actual: int) -> None:
    """Raise `TooComplex` if there are more than `maximum`."""
    if actual > maximum:
        message = (
            f"The operation has {limit} {shown(actual)}; at most {maximum:,} is allowed. "
            "Ask for less at once."
        )
        raise TooComplex(message, limit=limit, maximum=maximum, actual=min(actual, 2**53 - 1))


def shown(number: int) -> str:
    """Digits that a person can read: nested fragments make numbers with hundreds of them."""
    return f"{number:,}" if number < 10**12 else "of more than a trillion"


@dataclass(slots=True)
class Size:
    """What a selection set asks for, its fragments counted wherever they are spread."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    spreads: list[tuple[str, int | None]] = field(default_factory=list)
    """Fragments used, each with its depth; without one inside introspection, which has its own rule."""


def refuse_large(document: DocumentNode, limits: Limits) -> None:
    """Raise `TooComplex` if an operation is over a limit.

    Every definition is walked once and without recursion, so time is linear in the text however
    fragments are nested. Introspection counts for everything but depth.
    """
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    refuse_above("operations", limits.operations, len(operations))
    refuse_above("fragments", limits.fragments, len(fragments))
    sizes: dict[str, Size] = {}
    for definition in operations:
        size = with_fragments(own_size(definition), fragments, sizes, frozenset())
        refuse_above("depth", limits.depth, size.depth)
        refuse_above("fields", limits.fields, size.fields)
        refuse_above("aliases", limits.aliases, size.aliases)
        refuse_above("directives", limits.directives, size.directives)


def with_fragments(
    size: Size, fragments: dict[str, FragmentDefinitionNode], sizes: dict[str, Size], inside: frozenset[str]
) -> Size:
    """Add what the spread fragments ask for. A cycle ends the count; validation refuses it."""
    for name, depth in size.spreads:
        if name in inside or name not in fragments:
            continue
        if name not in sizes:
            sizes[name] = with_fragments(own_size(fragments[name]), fragments, sizes, inside | {name})
        spread = sizes[name]
        if depth is not None:
            size.depth = max(size.depth, depth + spread.depth)
        size.fields += spread.fields
        size.aliases += spread.aliases
        size.directives += spread.directives
    return size


def own_size(definition: OperationDefinitionNode | FragmentDefinitionNode) -> Size:
    """The size of one definition by itself."""
    size = Size(directives=len(definition.directives or ()))
    waiting: list[tuple[SelectionSetNode, int | None]] = [(definition.selection_set, 0)]
    while waiting:
        selections, depth = waiting.pop()
        for selection in selections.selections:
            size.directives += len(selection.directives or ())
            if isinstance(selection, FragmentSpreadNode):
                size.spreads.append((selection.name.value, depth))
            elif isinstance(selection, InlineFragmentNode):
                waiting.append((selection.selection_set, depth))
            elif isinstance(selection, FieldNode):
                size.fields += 1
                size.aliases += selection.alias is not None
                below = None if depth is None or selection.name.value in INTROSPECTION_FIELDS else depth + 1
                size.depth = max(size.depth, 0 if depth is None else depth + 1)
                if selection.selection_set is not None:
                    waiting.append((selection.selection_set, below))
    return size


def root_fields(operation: OperationDefinitionNode, document: DocumentNode) -> Iterator[str]:
    """The names of the fields that an operation asks of its root type, through fragments too."""
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    seen: set[str] = set()
    waiting: list[Iterable[object]] = [operation.selection_set.selections]
    while waiting:
        for selection in waiting.pop():
            if isinstance(selection, FieldNode):
                yield selection.name.value
            elif isinstance(selection, InlineFragmentNode):
                waiting.append(selection.selection_set.selections)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in seen:
                seen.add(selection.name.value)
                waiting.append(fragments[selection.name.value].selection_set.selections)
