"""Operations that were read, checked and found good, kept for the next time they are sent."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    OverlappingFieldsCanBeMergedRule,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.rules.max_introspection_depth_rule import MAX_LIST_DEPTH

from bioscope_gql.errors import Refusal
from bioscope_gql.schema.reads import Reads, reads
from bioscope_gql.transport.costs import Price, price
from bioscope_gql.transport.limits import Limits, TooComplex, refuse_above, refuse_large, root_fields
from bioscope_gql.transport.masking import FormattedError, rejected
from bioscope_gql.transport.overlaps import overlaps_within
from bioscope_gql.transport.plans import Plans

BYTES_PER_CHARACTER = 400
"""Memory that a document takes for each character of its text, parsed and planned; measured with many short
names."""

MAX_VALIDATION_ERRORS = 20

TOO_DEEP_INTROSPECTION = "Maximum introspection depth exceeded"
"""What graphql-core's own rule says; each such list within a list is about ten times the answer."""


class InvalidDocument(Exception):
    """The document is refused; `errors` say why, each with its place."""

    def __init__(self, errors: Sequence[FormattedError]) -> None:
        super().__init__(errors)
        self.errors = errors


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation of a valid document; as long as that is remembered, one object."""

    document: DocumentNode
    kind: OperationType
    name: str | None
    root_fields: frozenset[str]
    price: Price
    reads: Reads
    plans: Plans | None
    """What the executor finds out about it, kept; None where variables decide which fields there are."""


class Documents:
    """Parses and validates, and remembers what was valid up to `limits.cached_document_bytes`."""

    def __init__(self, schema: GraphQLSchema, limits: Limits, *, introspection: bool) -> None:
        self._schema = schema
        self._limits = limits
        self._hide_suggestions = not introspection
        overlaps = overlaps_within(limits.comparisons)
        self._rules = [
            overlaps if rule is OverlappingFieldsCanBeMergedRule else rule for rule in specified_rules
        ]
        if not introspection:
            self._rules.append(NoSchemaIntrospectionCustomRule)
        self._known: OrderedDict[str, tuple[Operation, ...]] = OrderedDict()
        self._bytes = 0

    def find(self, query: str, operation_name: str | None) -> Operation:
        """The operation that was asked for.

        Raises:
            InvalidDocument: it does not parse or validate.
            TooComplex: it is over a limit.
            Refusal: OPERATION_RESOLUTION_FAILURE, it is not clear which operation is meant.
        """
        return choose(self._operations(query), operation_name)

    def _operations(self, query: str) -> tuple[Operation, ...]:
        known = self._known.get(query)
        if known is not None:
            self._known.move_to_end(query)
            return known
        document = self._checked(query)
        operations = tuple(
            Operation(
                document,
                node.operation,
                node.name.value if node.name else None,
                frozenset(root_fields(node, document)),
                price(self._schema, document, node),
                found := reads(self._schema, document, node),
                None if found.varies else Plans(),
            )
            for node in document.definitions
            if isinstance(node, OperationDefinitionNode)
        )
        self._remember(query, operations)
        return operations

    def _checked(self, query: str) -> DocumentNode:
        refuse_above("bytes", self._limits.query_bytes, len(query.encode()))
        document = self._parsed(query)
        refuse_large(document, self._limits)
        errors = validate(
            self._schema,
            document,
            self._rules,
            max_errors=MAX_VALIDATION_ERRORS,
            hide_suggestions=self._hide_suggestions,
            allow_empty_selection_sets=False,
        )
        if any(error.message == TOO_DEEP_INTROSPECTION for error in errors):
            message = (
                f"Introspection asks for lists within lists more than {MAX_LIST_DEPTH - 1} deep. Ask for"
                " less at once."
            )
            raise TooComplex(message, limit="introspection depth", maximum=MAX_LIST_DEPTH - 1)
        if errors:
            raise InvalidDocument(rejected(errors, "GRAPHQL_VALIDATION_FAILED"))
        return document

    def _parsed(self, query: str) -> DocumentNode:
        tokens = self._limits.tokens
        try:
            return parse(
                query, max_lexical_tokens=tokens, max_comments=tokens, allow_empty_selection_sets=False
            )
        except GraphQLError as error:
            if "Document contains more than" in error.message:
                message = f"The operation has more than {tokens:,} tokens. Ask for less at once."
                raise TooComplex(message, limit="tokens", maximum=tokens) from None
            raise InvalidDocument(rejected([error], "GRAPHQL_PARSE_FAILED")) from None

    def _remember(self, query: str, operations: tuple[Operation, ...]) -> None:
        self._known[query] = operations
        self._bytes += BYTES_PER_CHARACTER * len(query)
        while self._bytes > self._limits.cached_document_bytes:
            forgotten, _ = self._known.popitem(last=False)
            self._bytes -= BYTES_PER_CHARACTER * len(forgotten)


def choose(operations: Sequence[Operation], name: str | None) -> Operation:
    """The one of that name; without a name the only one."""
    if name is None and len(operations) == 1:
        return operations[0]
    named = {operation.name: operation for operation in operations if operation.name is not None}
    if name is not None and name in named:
        return named[name]
    if name is not None:
        message = (
            f"The document has no operation {name[:100]!r}. Send `operationName` as it is written there."
        )
    elif operations:
        message = "The document has several operations. Say in `operationName` which one is meant."
    else:
        message = "The document has no operation. Send a query, a mutation or a subscription."
    raise Refusal(message, "OPERATION_RESOLUTION_FAILURE")
