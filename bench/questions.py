"""What `bench/queries.py` asks: five operations that a frontend sends, and the rows that they meet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import accounts, datasets
from bioscope_gql.services import Services
from bioscope_gql.vocabulary import Role, uuid7

PICTURES, DATASETS = 50, 20
PASSWORD = "long enough for it"  # noqa: S105 - of a laboratory that nobody has

Q1 = """
{ images(first: 50) { nodes {
  id filename width height createdAt
  dataset { id name } uploadedBy { id name } latestResult { label confidence }
} pageInfo { hasNextPage endCursor } } }
"""
Q2 = """
query ($id: ID!) { image(id: $id) {
  id filename contentType fileSize sha256 width height bitDepth channels frames capturedAt createdAt
  metadata fileMetadata analyzed
  dataset { id name } device { id name } uploadedBy { id name }
  latestResult { id label confidence scores { label confidence } }
  results(first: 20) { totalCount nodes { id label confidence modelName modelVersion createdAt } }
} }
"""
Q3 = """
{ datasets(first: 20) { nodes {
  id name description createdAt imageCount totalBytes
  owner { id name } labelCounts { label count averageConfidence }
} pageInfo { hasNextPage endCursor } } }
"""
Q4 = "{ me { id username email role } }"
W1 = """
mutation ($id: ID!, $text: String) { updateDataset(input: {id: $id, description: $text}) {
  __typename ... on Dataset { id name description }
} }
"""


@dataclass(frozen=True, slots=True)
class Question:
    """An operation with its variables."""

    name: str
    about: str
    query: str
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ground:
    """Whose rows there are, and two of them to ask for."""

    token: str
    image: UUID
    dataset: UUID

    def questions(self) -> list[Question]:
        return [
            Question("Q1", f"{PICTURES} pictures nested", Q1, {}),
            Question("Q2", "one picture with everything", Q2, {"id": str(self.image)}),
            Question("Q3", f"{DATASETS} datasets with aggregates", Q3, {}),
            Question("Q4", "me", Q4, {}),
            Question("W1", "a mutation", W1, {"id": str(self.dataset), "text": "looked through"}),
        ]


async def prepare(services: Services) -> Ground:
    """50 pictures in 20 datasets, each with two results; everything belongs to one analyst."""
    db = services.db
    row = await accounts.create(
        services, email="b@lab.example", username="bench", password=PASSWORD, role=Role.ANALYST
    )
    viewer = Viewer(id=row["id"], role=Role.ANALYST)
    made = [
        await datasets.create(services, viewer, name=f"bench {number}", description=None)
        for number in range(DATASETS)
    ]
    device, model = uuid7(), uuid7()
    await db.execute(
        "insert into devices (id, name, name_key, device_type) values ($1, 'a', 'a', 'camera')", device
    )
    await db.execute("insert into models (id, name, version) values ($1, 'm', '1')", model)
    await db.execute(
        "insert into images (id, filename, content_type, file_size, sha256, storage_path, width, height,"
        " bit_depth, channels, frames, file_metadata, dataset, device, uploaded_by) select uuidv7(),"
        " n || '.png', 'image/png', 1, lpad(to_hex(n), 64, '0'), 'x' || n, 640, 480, 8, 3, 1,"
        " jsonb_build_object('Software', repeat('Microscope Suite 4.2 ', 10)),"
        " ($1::uuid[])[1 + n % cardinality($1)], $2, $3 from generate_series(1, $4::int) n",
        [dataset["id"] for dataset in made], device, viewer.id, PICTURES,
    )  # fmt: skip
    for _ in range(2):
        await db.execute(RUN, model)
    await db.execute(JUDGED)
    await db.execute("vacuum analyze")
    image = await db.value("select id from images order by id desc limit 1")
    signed_in = await accounts.login(services, login="bench", password=PASSWORD)
    return Ground(signed_in.access_token, image, made[0]["id"])


RUN = """
with runs as (
  insert into classifications (id, dataset, model, model_name, model_version, total, queued, succeeded,
    finished_at)
  select uuidv7(), dataset, $1, 'm', '1', count(*), 0, count(*), now() from images group by dataset
  returning id, dataset),
items as (
  insert into classification_items (id, classification, image, model, status)
  select uuidv7(), r.id, i.id, $1, 'SUCCEEDED' from images i join runs r on r.dataset = i.dataset
  returning id, classification, image)
insert into classification_results (id, item, classification, image, dataset, label, confidence, scores,
  model_name, model_version)
select uuidv7(), n.id, n.classification, n.image, i.dataset, 'neutrophil', 0.9,
  '[{"label": "neutrophil", "confidence": 0.9}]', 'm', '1' from items n join images i on i.id = n.image
"""
JUDGED = """
update images i set latest_result = r.id, latest_label = r.label, latest_confidence = r.confidence,
  latest_at = r.created_at
from (select distinct on (image) * from classification_results order by image, created_at desc, id desc) r
where r.image = i.id
"""
