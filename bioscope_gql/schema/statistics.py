"""Figures over what the caller may see."""

from datetime import datetime

import strawberry
from strawberry import UNSET

from bioscope_gql.resolvers import statistics
from bioscope_gql.resolvers.statistics import Results, Window
from bioscope_gql.schema import define
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.edges import once
from bioscope_gql.schema.values import LabelCount
from bioscope_gql.schema.words import ClassificationStatus, TimeBucket


@define.type
class TimePoint:
    """What one stretch of a timeline holds; it begins at `at` and there may be nothing in it."""

    at: datetime
    count: int
    average_confidence: float | None


@define.type
class StatusCount:
    """How many runs have a status."""

    status: ClassificationStatus
    count: int


@define.type
class Statistics:
    """Over what the caller may see. What is not selected is not counted."""

    window: strawberry.Private[Window]

    @define.field
    async def image_count(self, info: Info) -> int:
        """The images that exist now, whenever they came."""
        count: int = await once(info, statistics.image_count, self.window)
        return count

    @define.field
    async def result_count(self, info: Info) -> int:
        """The results made within the window."""
        return (await self._results(info)).total.count

    @define.field
    async def average_confidence(self, info: Info) -> float | None:
        """Of the results made within the window; null when there are none."""
        return (await self._results(info)).total.average

    @define.field
    async def labels(self, info: Info) -> list[LabelCount]:
        """The results made within the window by label, the most frequent first."""
        return [LabelCount(**row) for row in (await self._results(info)).labels]

    @define.field
    async def timeline(self, info: Info) -> list[TimePoint]:
        """The results made within the window, bucket by bucket; empty ones too."""
        return [
            TimePoint(at=at, count=figure.count, average_confidence=figure.average)
            for at, figure in (await self._results(info)).timeline
        ]

    @define.field
    async def statuses(self, info: Info) -> list[StatusCount]:
        """The runs created within the window, by the status that they have now."""
        found = await once(info, statistics.statuses, self.window)
        return [StatusCount(status=status, count=count) for status, count in found.items()]

    async def _results(self, info: Info) -> Results:
        found: Results = await once(info, statistics.results, self.window)
        return found


@strawberry.type
class StatisticsQueries:
    @define.field
    def statistics(
        self,
        since: datetime | None = UNSET,
        until: datetime | None = UNSET,
        bucket: TimeBucket = TimeBucket.HOUR,
        dataset_id: strawberry.ID | None = UNSET,
        model_name: str | None = UNSET,
        model_version: str | None = UNSET,
    ) -> Statistics:
        """Figures of a window of time: the last 24 hours by the hour, unless told otherwise."""
        window = statistics.window(
            define.sent(since),
            define.sent(until),
            bucket,
            dataset=define.sent(dataset_id),
            model_name=define.sent(model_name),
            model_version=define.sent(model_version),
        )
        return Statistics(window=window)
