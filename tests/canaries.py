"""A laboratory full of canaries: texts that nobody but those who may see a dataset should ever be told."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from bioscope_gql.db import Row
from bioscope_gql.policy import Viewer
from bioscope_gql.vocabulary import Role, ServiceScope, uuid7
from tests.lab import Lab, Person
from tests.lab_worker import TestWorker

TABLES = {
    "datasets": "id",
    "dataset_grants": "dataset",
    "images": "dataset",
    "classifications": "dataset",
    "classification_items": "classification in (select id from classifications where dataset",
    "classification_results": "dataset",
}
IDS = {
    name: f"select id from {name} where {column} = $1" + (")" if "(" in column else "") + " order by id"
    for name, column in TABLES.items()
}
"""How the rows of a dataset are found; this knows nothing of policy.py, which it is to judge."""


@dataclass
class Group:
    """A dataset with all that hangs on it: the ids by table, and the texts that lie in its rows."""

    name: str
    ids: Mapping[str, Sequence[str]]
    grants: Sequence[Row] = ()
    """Whose the grants are: `id`, `holder`, and whether it `is_owners`."""

    at_work: str = ""
    """The picture that a worker is at."""
    uploader: str = ""

    def text(self, what: str) -> str:
        return f"canary-{self.name}-{what}"

    @property
    def for_workers(self) -> set[str]:
        """What is told to a machine that reads the picture at work: whose it is and in which dataset, too."""
        return {
            self.at_work, self.uploader, self.ids["datasets"][0],
            self.text("name"), *(self.text(each) for each in PICTURE),
        }  # fmt: skip

    @property
    def texts(self) -> set[str]:
        return {self.text(what) for what in (*DATASET, *PICTURE, *RESULT)}


LETTER = "canary-of-a-dead-letter"
DATASET = ("name", "description")
PICTURE = ("file", "note", "header")
RESULT = ("label", "detail", "measure", "failure")


@dataclass
class Caller:
    """Somebody who asks. `sees`: the datasets of the groups that they may know of at all; who `reads` is told
    of every picture at work."""

    viewer: Viewer | None
    sees: frozenset[str] = frozenset()
    manages: frozenset[str] = frozenset()
    person: Person | None = None
    reads: bool = False

    @property
    def id(self) -> str:
        return self.person.id if self.person else ""

    @property
    def email(self) -> str:
        return f"{self.person.username}@lab.example" if self.person else ""


@dataclass
class World:
    """People, machines and datasets. A is Ann's, with guests; B is Bob's alone; C is the analyst's."""

    lab: Lab
    callers: dict[str, Caller] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    dead_letter: str = ""
    model: str = ""
    sessions: dict[str, str] = field(default_factory=dict)
    """Whose each login session is, by its id."""
    machine: str = ""
    """A service account that has no grant, which only admins know of."""

    @property
    def ids(self) -> list[str]:
        """One id of everything there is in A and B, and of their owners."""
        rows = [
            ids[0] for name in ("A", "B") if name in self.groups for ids in self.groups[name].ids.values()
        ]
        owners = [self.callers[name].id for name in ("owner", "stranger")]
        sessions = [id for id, user in self.sessions.items() if user in owners]
        return [*rows, *owners, *sessions, self.dead_letter, self.model, self.machine]

    def forbidden(self, name: str) -> set[str]:
        """Every text and id that this caller should never be told."""
        caller = self.callers[name]
        foreign = {id for id, user in self.sessions.items() if user != caller.id}
        if name == "admin":
            return foreign
        never = {each.email for each in self._others(name)} | {LETTER, self.dead_letter, self.machine}
        never |= foreign
        if caller.person is None:
            never.add(self.model)
        for group in self.groups.values():
            if group.name not in caller.sees:
                never |= group.texts | {id for ids in group.ids.values() for id in ids}
            elif group.name not in caller.manages:
                never |= {str(each["id"]) for each in group.grants if not self._is_told(each, caller)}
        never |= {each.id for each in self._others(name) if not each.sees & caller.sees}
        told = [group.for_workers for group in self.groups.values() if caller.reads]
        return never.difference(*told)

    def _is_told(self, grant: Row, caller: Caller) -> bool:
        return grant["is_owners"] or (caller.viewer is not None and grant["holder"] == caller.viewer.id)

    def _others(self, name: str) -> list[Caller]:
        return [each for key, each in self.callers.items() if each.person and key != name]

    async def seed(self, name: str, owner: Person, worker: TestWorker) -> None:
        """A dataset with pictures, a run that ended and one that is at work, every text a canary."""
        group = Group(name, {})
        text = group.text
        made = await owner.ask(
            "mutation ($input: CreateDatasetInput!) {"
            " createDataset(input: $input) { ... on Dataset { id } } }",
            input={"name": text("name"), "description": text("description")},
        )
        dataset = made["id"]
        images = await owner.images(dataset, 3)
        await self.lab.db.execute(
            "update images set filename = $2::text, search_text = $2::text, metadata = $3, file_metadata = $4"
            " where dataset = $1",
            UUID(dataset), text("file"), json.dumps({"note": text("note")}),
            json.dumps({"header": text("header")}),
        )  # fmt: skip
        run = await owner.run_over(dataset)
        jobs = [await self._job(worker, images) for _ in images]
        for job in jobs[:-1]:
            await worker.answer(
                job, text("label"), 0.75, details={"note": text("detail")},
                measurements=[{"name": text("measure"), "value": 1.5, "unit": "µm"}],
            )  # fmt: skip
        error = {"code": "CORRUPT_IMAGE", "message": text("failure"), "retryable": False}
        await worker.send({**worker.ok(jobs[-1]), "status": "error", "error": error})
        await owner.finished(run)
        await owner.run(target={"imageId": images[0]})
        await self._job(worker, images)
        rows = {table: await self.lab.db.rows(sql, UUID(dataset)) for table, sql in IDS.items()}
        ids = {table: [str(row["id"]) for row in rows[table]] for table in rows}
        self.groups[name] = Group(name, ids, at_work=images[0], uploader=owner.id)

    async def _job(self, worker: TestWorker, images: Sequence[str]) -> Any:
        """The next job over one of these pictures; a later worker hears of the earlier jobs too."""
        while (job := await worker.job())["imageId"] not in images:
            pass
        return job

    async def note_grants(self) -> None:
        """Take down whose the grants are, once all are given."""
        for group in self.groups.values():
            group.grants = await self.lab.db.rows(
                'select g.id, coalesce(g."user", g.service_account) as holder,'
                ' coalesce(g."user" = d.owner, false) as is_owners'
                " from dataset_grants g join datasets d on d.id = g.dataset where d.id = $1",
                UUID(group.ids["datasets"][0]),
            )
            group.ids = {**group.ids, "dataset_grants": [str(each["id"]) for each in group.grants]}


async def peopled(lab: Lab) -> World:
    """Everybody, with A and C; B comes later, so that what comes of it can be told apart."""
    world = World(lab)
    ann, bob, ana = [await lab.an_analyst() for _ in range(3)]
    vic, con, mia = [await lab.a_user() for _ in range(3)]
    admin = await lab.an_admin()
    a, c = frozenset("A"), frozenset("C")
    people = {
        "owner": (ann, Role.ANALYST, a, a), "view guest": (vic, Role.USER, a, frozenset[str]()),
        "contribute guest": (con, Role.USER, a, frozenset[str]()), "manage guest": (mia, Role.USER, a, a),
        "stranger": (bob, Role.ANALYST, frozenset("B"), frozenset("B")), "analyst": (ana, Role.ANALYST, c, c),
        "admin": (admin, Role.ADMIN, frozenset("ABC"), frozenset("ABC")),
    }  # fmt: skip
    for name, (person, role, sees, manages) in people.items():
        viewer = Viewer(UUID(person.id), role, person.username)
        world.callers[name] = Caller(viewer, sees, manages, person)
    world.callers["nobody"] = Caller(None)
    machines: dict[str, tuple[list[ServiceScope], frozenset[str]]] = {
        "idle machine": ([], frozenset()),
        "uploading machine": ([ServiceScope.IMAGES_WRITE], a),
        "heartbeat machine": ([ServiceScope.DEVICES_HEARTBEAT], frozenset()),
        "reading machine": ([ServiceScope.IMAGES_READ], frozenset()),
        "results machine": ([ServiceScope.RESULTS_READ], frozenset("ABC")),
    }
    for name, (held, sees) in machines.items():
        id = uuid7()
        await lab.db.execute(
            "insert into service_accounts (id, name, client_id, hashed_secret, scopes)"
            " values ($1::uuid, $2::text, $2::text, 'x', $3)", id, name, held,
        )  # fmt: skip
        viewer = Viewer(id, None, name, scopes=frozenset(held))
        world.callers[name] = Caller(viewer, sees, reads=ServiceScope.IMAGES_READ in held)
    async with lab.a_worker() as worker:
        await world.seed("A", ann, worker)
        await world.seed("C", ana, worker)
    world.model = str(await lab.db.value("select id from models"))
    letter = await lab.db.value(
        'insert into dead_letters (id, topic, partition, "offset", reason, payload)'
        " values (uuidv7(), 'results', 0, 1, $1::text, $1::text) returning id",
        LETTER,
    )
    world.dead_letter = str(letter)
    dataset = world.groups["A"].ids["datasets"][0]
    for person, level in ((vic, "VIEW"), (con, "CONTRIBUTE"), (mia, "MANAGE")):
        await lab.grant(dataset, person, level)
    uploading = world.callers["uploading machine"].viewer
    assert uploading is not None
    await lab.db.execute(
        "insert into dataset_grants (id, dataset, service_account, level) values ($1, $2, $3, 'CONTRIBUTE')",
        uuid7(), UUID(dataset), uploading.id,
    )  # fmt: skip
    await world.note_grants()
    idle = world.callers["idle machine"].viewer
    assert idle is not None
    world.machine = str(idle.id)
    sessions = await lab.db.rows('select id::text, "user"::text as user from login_sessions')
    world.sessions = {row["id"]: row["user"] for row in sessions}
    await stand_still(lab)
    return world


async def stand_still(lab: Lab) -> None:
    """No worker goes off, no job goes out and no lease ends, however long the questions take."""
    await lab.until(
        "select count(*) = 0 from classification_items where status = 'QUEUED' and lease_until is null"
    )
    await lab.db.execute("update workers set last_seen_at = clock_timestamp() + interval '1 day'")
    await lab.db.execute(
        "update classification_items set lease_until = clock_timestamp() + interval '1 day'"
        " where lease_until is not null"
    )


async def with_the_stranger(world: World) -> None:
    """Bob's dataset too."""
    bob = world.callers["stranger"].person
    assert bob is not None
    async with world.lab.a_worker() as worker:
        await world.seed("B", bob, worker)
    await world.note_grants()
    await stand_still(world.lab)
