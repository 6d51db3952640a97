"""Sharing: who else may do what in a dataset, and whose it is.

The owner holds a MANAGE grant that nobody can take (the database sees to it). Whoever writes locks the
dataset first, so that of two that share, hand over and take back at once the second sees what the first did.
"""

from dataclasses import dataclass
from uuid import UUID

from bioscope_gql import policy
from bioscope_gql.db import Args, Connection, Row, certain
from bioscope_gql.errors import Conflict, Forbidden, NotFound
from bioscope_gql.live.hub import Change
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import audit, datasets, words
from bioscope_gql.resolvers.paging import table_columns
from bioscope_gql.services import Services
from bioscope_gql.tables import DatasetGrant
from bioscope_gql.vocabulary import AccessLevel, UserStatus, uuid7

COLUMNS = table_columns(DatasetGrant, "t")
LOCK = "for no key update of t"

ACCOUNTS = f"""
select id, 'user' as kind from users where status = '{UserStatus.ACTIVE}'
  and (id = $1 or username_key = $2 or email_key = $3)
union all
select id, 'service_account' from service_accounts
where id = $1 and revoked_at is null and (expires_at is null or expires_at > clock_timestamp())
"""


@dataclass(frozen=True, slots=True)
class AccountRef:
    """Who is meant: exactly one of the three. An id may be a person's or a service account's."""

    id: UUID | str | None = None
    username: str | None = None
    email: str | None = None

    @property
    def sent(self) -> str:
        return str(next(each for each in (self.id, self.username, self.email) if each is not None))


async def share(
    services: Services, viewer: Viewer, dataset: UUID | str | None, to: AccountRef, level: AccessLevel
) -> Row:
    """Give somebody access, or another level than they have: the dataset.

    Raises:
        NotFound: the dataset is absent or invisible; or there is no active account like this.
        Forbidden: the viewer does not manage the dataset.
        Conflict: it is the owner, who has all rights anyway.
    """
    async with services.db.transaction() as tx:
        row = await datasets.reach(tx, viewer, dataset, AccessLevel.MANAGE, "share the dataset", LOCK)
        policy.must_be_person(viewer, "share datasets")
        account = await _account(tx, to)
        if account["id"] == row["owner"]:
            raise Conflict("The dataset is theirs: its owner has all rights here. Hand it over first.")
        holder = account["kind"]
        await tx.execute(
            f'insert into dataset_grants (id, dataset, "{holder}", level, granted_by, granted_at)'
            " values ($1, $2, $3, $4, $5, clock_timestamp())"
            f' on conflict (dataset, "{holder}") do update set level = excluded.level,'
            " granted_by = excluded.granted_by, granted_at = excluded.granted_at"
            " where dataset_grants.level <> excluded.level",
            uuid7(),
            row["id"],
            account["id"],
            level,
            viewer.id,
        )
        told = {"to": account["id"], "level": level}
        await audit.record(tx, viewer, "dataset.shared", ("dataset", row["id"]), told)
    return row


async def revoke(services: Services, viewer: Viewer, id: UUID | str | None) -> Row:
    """Take a grant back, or give one's own up: the dataset as it is. What is watched there ends.

    Raises:
        NotFound: there is no such grant, or none that the viewer may see.
        Forbidden: it is somebody else's, and the viewer does not manage the dataset.
        Conflict: it is the owner's.
    """
    async with services.db.transaction() as tx:
        dataset = await _dataset_of(tx, viewer, id)
        row = await datasets.reach(tx, viewer, dataset, AccessLevel.VIEW, "see it", LOCK)
        grant = await _grant(tx, viewer, id)
        policy.must_be_person(viewer, "take access back")
        if viewer.id not in (grant["user"], grant["service_account"]):
            policy.must_reach(AccessLevel(row["access"]), AccessLevel.MANAGE, "take access back")
        if grant["user"] == row["owner"]:
            raise Conflict("The owner's access can't be taken. Hand the dataset over first.")
        await tx.execute("delete from dataset_grants where id = $1", grant["id"])
        told = {"from": grant["user"] or grant["service_account"]}
        await audit.record(tx, viewer, "dataset.unshared", ("dataset", row["id"]), told)
        # A higher version makes everybody who watches look again, on any replica, and see whether they may.
        watched = await tx.fetch(
            "with open as (select id from classifications where dataset = $1 and finished_at is null"
            " order by id for no key update) update classifications c set version = c.version + 1"
            " from open where c.id = open.id returning c.id, c.version",
            row["id"],
        )
    for run in watched:
        services.hub.tell(Change(run["id"], row["id"], run["version"]))
    return row


async def transfer(services: Services, viewer: Viewer, dataset: UUID | str | None, to: AccountRef) -> Row:
    """Hand a dataset over to another person; who had it keeps MANAGE. Their own already: nothing changes.

    Raises:
        NotFound: the dataset is absent or invisible; or there is no active person like this.
        Forbidden: the viewer is neither the owner nor an admin.
        Conflict: a service account can't own datasets.
    """
    async with services.db.transaction() as tx:
        row = await datasets.reach(tx, viewer, dataset, AccessLevel.VIEW, "see it", LOCK)
        policy.must_be_person(viewer, "hand datasets over")
        if not policy.owns(viewer, row):
            raise Forbidden("Only its owner or an admin may hand a dataset over.", "ACCESS")
        account = await _account(tx, to)
        if account["kind"] != "user":
            raise Conflict("A service account can't own datasets. Name a person.")
        if account["id"] == row["owner"]:
            return row
        changed = await tx.fetchrow(
            "update datasets t set owner = $2, updated_at = clock_timestamp()"
            f" where t.id = $1 returning {datasets.COLUMNS}",
            row["id"],
            account["id"],
        )
        told = {"from": row["owner"], "to": account["id"]}
        await audit.record(tx, viewer, "dataset.transferred", ("dataset", row["id"]), told)
    return certain(changed)


async def _account(tx: Connection, to: AccountRef) -> Row:
    name, email = (None if text is None else words.key(text) for text in (to.username, to.email))
    row: Row | None = await tx.fetchrow(ACCOUNTS, words.read_id(to.id), name, email)
    if row is None:
        message = "There is no active account like this. Check how its e-mail address or name is spelled."
        raise NotFound(message, ids=[] if to.id is None else [to.sent])
    return row


async def _dataset_of(tx: Connection, viewer: Viewer, id: UUID | str | None) -> UUID:
    dataset: UUID = (await _grant(tx, viewer, id))["dataset"]
    return dataset


async def _grant(tx: Connection, viewer: Viewer, id: UUID | str | None) -> Row:
    args = Args([words.read_id(id)])
    visible = policy.visible_grants(viewer, args, "t")
    row: Row | None = await tx.fetchrow(
        f"select {COLUMNS} from dataset_grants t where t.id = $1 and {visible}", *args
    )
    if row is None:
        raise NotFound("There is no grant of this id that you may see.", ids=[str(id)] if id else [])
    return row
