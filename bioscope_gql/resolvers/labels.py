"""How often each label won among the pictures of datasets."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from bioscope_gql import policy
from bioscope_gql.db import Args, Database
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers.image_lists import names_model, newest_of_model
from bioscope_gql.resolvers.paging import Wanted

LabelCount = Mapping[str, Any]
"""`label`, `count` and `average_confidence`, as a client gets them."""


async def of_datasets(
    db: Database, viewer: Viewer, datasets: Sequence[UUID], wanted: Wanted
) -> list[list[LabelCount]]:
    """Of each dataset its labels by the newest result of each picture, the most frequent first.

    `wanted` may name a model; then its results alone count.
    """
    args = Args([list(datasets)])
    visible = policy.visible_images(viewer, args, "t")
    verdicts = (
        "select t.dataset, t.latest_label as label, t.latest_confidence as confidence from images t"
        f" where t.dataset = any($1::uuid[]) and t.latest_label is not null and {visible}"
    )
    if names_model(wanted):
        visible = policy.visible_results(viewer, args, "t")
        which = ["t.dataset = any($1::uuid[])", visible, *newest_of_model(wanted, args, "t")]
        verdicts = (
            "select t.dataset, t.label, t.confidence from classification_results t"
            f" where {' and '.join(which)}"
        )
    rows = await db.rows(
        "select v.dataset, v.label, count(*) as count, avg(v.confidence) as average_confidence"
        f" from ({verdicts}) v group by 1, 2 order by 3 desc, 2",
        *args,
    )
    found: dict[UUID, list[LabelCount]] = {dataset: [] for dataset in datasets}
    for dataset, label, count, average in rows:
        found[dataset].append({"label": label, "count": count, "average_confidence": average})
    return [found[dataset] for dataset in datasets]
