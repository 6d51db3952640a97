"""What a service account may select, by its scopes. What is not named here is refused before anything runs.

Which rows it sees, `policy.py` says; this table says which fields. So a field that is added to the API is
closed to machines until somebody opens it here.
"""

from collections.abc import Iterator

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
)
from graphql.language import DocumentNode

from bioscope_gql import policy
from bioscope_gql.errors import Forbidden
from bioscope_gql.policy import Viewer
from bioscope_gql.vocabulary import ServiceScope


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ANY_SCOPE = _names("""
    Query.server Query.me Query.node Query.nodes ServerInfo.* ServerLimits.* PageInfo.* FieldProblem.*
    Node.* Problem.* FileOutcome.* Actor.* User.id User.name User.username
    ServiceAccount.id ServiceAccount.name
""")
"""For every machine: what concerns nobody, and the names on the rows that it sees."""

_IMAGE = """
    Image.id Image.filename Image.contentType Image.fileSize Image.sha256 Image.width Image.height
    Image.bitDepth Image.channels Image.frames Image.pixelSize PixelSize.* Image.capturedAt Image.metadata
    Image.fileMetadata Image.createdAt Image.uploadedBy Image.dataset Dataset.id Dataset.name
    Image.device Device.id Device.name Device.deviceType Device.location
"""

SELECTABLE = {
    ServiceScope.IMAGES_READ: _names(f"Query.image Query.images {_IMAGE}"),
    ServiceScope.IMAGES_WRITE: _names(f"""
        Mutation.uploadImages UploadReport.* UploadedImage.* DuplicateImage.* RejectedFile.* {_IMAGE}
    """),
    ServiceScope.DEVICES_HEARTBEAT: _names("""
        Mutation.deviceHeartbeat Device.id Device.name Device.deviceType Device.location Device.metadata
        Device.status Device.lastSeenAt Device.createdAt
    """),
    ServiceScope.RESULTS_READ: _names(f"""
        Query.image Query.images Query.images(filter) Query.images(orderBy) {_IMAGE}
        Image.analyzed Image.latestResult Image.results
        Query.classification Query.classifications Query.classificationResult Query.classificationResults
        Classification.* Progress.* ClassificationItem.* ClassificationResult.* Score.* Measurement.*
        Subscription.classificationUpdated Subscription.classificationsUpdated ClassificationUpdate.*
    """),
}
"""By scope; `Type.*` stands for all fields of a type."""

LINKS = frozenset({"Image.downloadUrl", "Image.thumbnailUrl"})

GUARDED = frozenset({"Query.images(filter)", "Query.images(orderBy)"})
"""Arguments by which a field tells more than it shows: of results, that is."""


def permit(schema: GraphQLSchema, document: DocumentNode, name: str | None, viewer: Viewer) -> None:
    """Let an operation pass if all that it selects is for this viewer. People's always pass.

    A mutation that is not for machines passes where it can answer so itself, see `must_mutate`.

    Raises:
        Forbidden: SCOPE, naming the first field that is not.
    """
    if viewer.is_person:
        return
    for coordinate in _Selections(schema, document).of(name, viewer):
        if not is_open(coordinate, viewer):
            raise refusal(coordinate)


def must_mutate(viewer: Viewer | None, field: str) -> None:
    """
    Raises:
        Forbidden: SCOPE, the viewer is a machine and this mutation is not what its scopes are for.
    """
    if viewer is not None and not viewer.is_person and not is_open(f"Mutation.{field}", viewer):
        raise refusal(f"Mutation.{field}")


def is_open(coordinate: str, viewer: Viewer) -> bool:
    """Whether a machine may select `Type.field`, or may send the argument of `Type.field(argument)`."""
    if coordinate in LINKS:
        return policy.may_link(viewer)
    names = {coordinate, f"{coordinate.partition('.')[0]}.*"}
    scopes = [SELECTABLE[scope] for scope in viewer.scopes]
    return any(names & each for each in (ANY_SCOPE, *scopes))


def refusal(coordinate: str) -> Forbidden:
    return Forbidden(f"The scopes of this service account are not for {coordinate}.", "SCOPE")


class _Selections:
    """Walks what an operation selects; each fragment once, whose type is the same wherever it is spread."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
        self._fragments = {
            d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)
        }
        self._walked: set[str] = set()

    def of(self, name: str | None, viewer: Viewer) -> Iterator[str]:
        for operation in self._operations:
            if (operation.name.value if operation.name else None) == name:
                root = self._schema.get_root_type(operation.operation)
                if root is not None:
                    yield from self._within(root, operation.selection_set, viewer)

    def _within(self, parent: GraphQLNamedType, selected: SelectionSetNode, viewer: Viewer) -> Iterator[str]:
        for node in selected.selections:
            if isinstance(node, FieldNode):
                yield from self._field(parent, node, viewer)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                of = self._schema.get_type(condition.name.value) if condition else parent
                yield from self._within(of or parent, node.selection_set, viewer)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in self._walked:
                self._walked.add(node.name.value)
                fragment = self._fragments[node.name.value]
                of = self._schema.get_type(fragment.type_condition.name.value)
                yield from self._within(of or parent, fragment.selection_set, viewer)

    def _field(self, parent: GraphQLNamedType, node: FieldNode, viewer: Viewer) -> Iterator[str]:
        name = node.name.value
        if name.startswith("__") or not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
            return
        coordinate, of = f"{parent.name}.{name}", get_named_type(parent.fields[name].type)
        if self._answers_itself(parent, of) and not is_open(coordinate, viewer):
            return
        if not self._only_carries(parent):
            yield coordinate
        arguments = (f"{coordinate}({each.name.value})" for each in node.arguments or ())
        yield from (each for each in arguments if each in GUARDED)
        if node.selection_set is not None:
            yield from self._within(of, node.selection_set, viewer)

    def _answers_itself(self, parent: GraphQLNamedType, of: GraphQLNamedType) -> bool:
        """Whether a refusal is one of the answers of a mutation."""
        is_mutation = parent is self._schema.get_root_type(OperationType.MUTATION)
        return (
            is_mutation
            and isinstance(of, GraphQLUnionType)
            and any(member.name == Forbidden.__name__ for member in of.types)
        )

    def _only_carries(self, parent: GraphQLObjectType | GraphQLInterfaceType) -> bool:
        """Pages carry rows, and problems sentences; what matters is how one came to them."""
        is_problem = any(each.name == "Problem" for each in parent.interfaces)
        return is_problem or parent.name.endswith(("Connection", "Edge"))
