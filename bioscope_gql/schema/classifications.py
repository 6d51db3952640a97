"""Runs: started, found, watched."""

from collections.abc import AsyncGenerator
from typing import Annotated

import strawberry

from bioscope_gql.live import overview, watch
from bioscope_gql.live.places import Place
from bioscope_gql.live.watch import Update
from bioscope_gql.resolvers import classifications, lifecycle, results, words
from bioscope_gql.resolvers.classifications import Order, Target
from bioscope_gql.schema import define
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.deletions import Deleted, DeleteResult
from bioscope_gql.schema.edges import root_one
from bioscope_gql.schema.inputs import (
    ClassificationFilter,
    ClassificationOrder,
    ClassificationResultFilter,
    ClassificationResultOrder,
    ClassificationTarget,
    RunClassificationInput,
)
from bioscope_gql.schema.paging import Connection, root_list
from bioscope_gql.schema.problems import (
    Conflict,
    Forbidden,
    InvalidInput,
    ModelUnavailable,
    NotFound,
    NothingToDo,
    RateLimited,
)
from bioscope_gql.schema.types import Classification, ClassificationItem, ClassificationResult

ClassificationRunResult = Annotated[
    Classification
    | NotFound
    | Forbidden
    | InvalidInput
    | Conflict
    | ModelUnavailable
    | NothingToDo
    | RateLimited,
    strawberry.union("ClassificationRunResult", description="The run as it is now, or why nothing was done."),
]


@strawberry.type(
    description="The state as it is when it is sent: a slow client skips intermediate states and never misses"
    " the last one."
)
class ClassificationUpdate:
    cursor: str = strawberry.field(
        description="Give it back as `after` to go on without a gap, on any replica."
    )
    classification: Classification
    items: list[ClassificationItem] = strawberry.field(
        description="Items that changed since the update before this one, at most 100; more follow at once."
    )

    @classmethod
    def of(cls, update: Update, place: Place) -> "ClassificationUpdate":
        """An update, on its way to a subscriber who has got so far by it."""
        place.reached, place.source = update.cursor, update.source
        return cls(
            cursor=update.cursor,
            classification=Classification.of(update.run),
            items=[ClassificationItem.of(item) for item in update.items],
        )


def target_of(sent: ClassificationTarget) -> Target:
    image, images, dataset = (define.sent(each) for each in (sent.image_id, sent.image_ids, sent.dataset_id))
    return Target(image=image, images=images, dataset=dataset)


@strawberry.type
class ClassificationQueries:
    classifications: Connection[Classification] = root_list(
        lambda: Classification,
        classifications.LISTING,
        filter_by=ClassificationFilter,
        order_by=ClassificationOrder,
        description="The runs over datasets that the caller may see.",
    )
    classification_results: Connection[ClassificationResult] = root_list(
        lambda: ClassificationResult,
        results.LISTING,
        filter_by=ClassificationResultFilter,
        order_by=ClassificationResultOrder,
        description="The results of all runs that the caller may see.",
    )

    classification: Classification | None = root_one(
        lambda: Classification, "One run; null when it is absent or not for the caller's eyes."
    )
    classification_result: ClassificationResult | None = root_one(
        lambda: ClassificationResult, "One result; null when it is absent or not for the caller's eyes."
    )


@strawberry.type
class ClassificationMutations:
    @define.mutation
    async def run_classification(self, info: Info, input: RunClassificationInput) -> ClassificationRunResult:
        """Freezes the images of the target and queues each for the model; answers at once."""
        context = info.context
        order = Order(
            target_of(input.target),
            model_name=define.sent(input.model_name),
            model_version=define.sent(input.model_version),
            priority=input.priority,
            only_missing=input.only_missing,
            idempotency_key=define.sent(input.idempotency_key),
        )
        row = await classifications.run(context.services, context.viewer, order)
        return Classification.of(row)

    @define.mutation
    async def cancel_classification(self, info: Info, id: strawberry.ID) -> ClassificationRunResult:
        """What is queued never starts; what is in flight is discarded when it comes back."""
        context = info.context
        return Classification.of(await lifecycle.cancel(context.services, context.viewer, id))

    @define.mutation
    async def retry_classification(self, info: Info, id: strawberry.ID) -> ClassificationRunResult:
        """New attempts for the failed and cancelled items of a finished run."""
        context = info.context
        return Classification.of(await lifecycle.retry(context.services, context.viewer, id))

    @define.mutation
    async def delete_classification(self, info: Info, id: strawberry.ID) -> DeleteResult:
        """A finished run, with its results."""
        context = info.context
        run = await lifecycle.delete(context.services, context.viewer, id)
        return await Deleted.of(context, [run["id"]], run["dataset"])


@strawberry.type
class ClassificationSubscriptions:
    @define.subscription
    async def classification_updated(
        self, info: Info, id: strawberry.ID, after: str | None = strawberry.UNSET
    ) -> AsyncGenerator[ClassificationUpdate, None]:
        """The run as it is now, then at every change; completes after a final state."""
        context = info.context
        since = context.place.after or define.sent(after)
        async for update in watch.run(context.services, context.viewer, words.read_id(id), since):
            yield ClassificationUpdate.of(update, context.place)

    @define.subscription
    async def classifications_updated(
        self,
        info: Info,
        filter: ClassificationFilter | None = strawberry.UNSET,
        after: str | None = strawberry.UNSET,
    ) -> AsyncGenerator[ClassificationUpdate, None]:
        """Every run that the caller may see and the filter admits: first those not yet finished and those
        that finished in the last hour, or all that changed since `after`; then every change. At least once.
        """
        context = info.context
        since = context.place.after or define.sent(after)
        async for update in overview.runs(context.services, context.viewer, define.wanted(filter), since):
            yield ClassificationUpdate.of(update, context.place)
