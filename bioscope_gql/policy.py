"""Who may do what, and who sees which rows. No other module compares roles, levels or scopes.

A `visible_<things>` function writes a condition for a WHERE; its second argument collects values, its
third is the alias by which the statement knows the table. What hangs on a dataset is seen by whoever
sees the dataset: its owner, those with a grant, admins. A machine sees what one of its scopes is for,
and nothing besides.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from bioscope_gql import tables
from bioscope_gql.db import Args, Row
from bioscope_gql.errors import Forbidden
from bioscope_gql.vocabulary import AccessLevel, ItemStatus, Role, ServiceScope, UserStatus

LADDER = {Role.USER: 1, Role.ANALYST: 2, Role.ADMIN: 3}
LEVELS = {AccessLevel.VIEW: 1, AccessLevel.CONTRIBUTE: 2, AccessLevel.MANAGE: 3}

ACTIVE_ADMINS = f"role = '{Role.ADMIN}' and status = '{UserStatus.ACTIVE}'"
"""Which rows of `users` are those who can administer."""


class Action(StrEnum):
    """What needs a rung of the ladder, in words that complete "may ..."."""

    RUN_MODELS = "run a model"
    MANAGE_USERS = "manage accounts"
    READ_DEAD_LETTERS = "read dead letters"
    MANAGE_SERVICE_ACCOUNTS = "manage service accounts"
    MANAGE_DEVICES = "manage devices"
    REPORT_DEVICES = "report that a device is alive"


NEEDS = {
    Action.RUN_MODELS: Role.ANALYST,
    Action.MANAGE_USERS: Role.ADMIN,
    Action.READ_DEAD_LETTERS: Role.ADMIN,
    Action.MANAGE_SERVICE_ACCOUNTS: Role.ADMIN,
    Action.MANAGE_DEVICES: Role.ADMIN,
    Action.REPORT_DEVICES: Role.ADMIN,
}

SCOPED = {Action.REPORT_DEVICES: ServiceScope.DEVICES_HEARTBEAT}
"""What a machine may do too, and the scope that it takes."""


@dataclass(frozen=True, slots=True)
class Visit:
    """By which request somebody came: for the audit trail and for limits, never for a right."""

    request_id: str | None = None
    address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever asks: a person, or a machine with scopes (then `role` is None)."""

    id: UUID
    role: Role | None
    name: str = ""
    session: UUID | None = None
    expires_at: datetime | None = None
    scopes: Collection[ServiceScope] = field(default_factory=frozenset)
    visit: Visit = field(default=Visit(), compare=False)
    account: Row | None = field(default=None, compare=False, repr=False)
    """The row of a person, as it was when their token was looked at."""

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    @property
    def is_person(self) -> bool:
        return self.role is not None

    def has(self, scope: ServiceScope) -> bool:
        """Whether this is a machine with that scope. People have none: they have roles."""
        return self.role is None and scope in self.scopes

    def may(self, action: Action) -> bool:
        if self.role is None:
            return action in SCOPED and self.has(SCOPED[action])
        return LADDER[self.role] >= LADDER[NEEDS[action]]

    def must(self, action: Action) -> None:
        """
        Raises:
            Forbidden: this viewer's role does not reach so far.
        """
        if self.may(action):
            return
        if self.role is None:
            help = f"it takes the scope {SCOPED[action]}" if action in SCOPED else "sign in as a person"
            raise Forbidden(f"This service account may not {action}; {help}.", "SCOPE")
        needed = NEEDS[action]
        raise Forbidden(
            f"It takes the role {needed} to {action}; yours is {self.role}. Ask an admin for it.", "ROLE"
        )


def must_reach(held: AccessLevel, needed: AccessLevel, doing: str) -> None:
    """
    Raises:
        Forbidden: the level held in a dataset is lower than the one needed.
    """
    if LEVELS[held] < LEVELS[needed]:
        raise Forbidden(
            f"It takes {needed} access to {doing} here; yours is {held}. Ask the dataset's owner.", "ACCESS"
        )


def must_be_person(viewer: Viewer, doing: str) -> None:
    """
    Raises:
        Forbidden: the viewer is a machine, and no scope covers this.
    """
    if not viewer.is_person:
        raise Forbidden(f"A service account may not {doing}; sign in as a person.", "SCOPE")


def owns(viewer: Viewer, dataset: Row) -> bool:
    """Whether the dataset is the viewer's to hand over: its owner's, or any for an admin."""
    return viewer.is_admin or bool(dataset["owner"] == viewer.id)


def is_active_admin(user: Row) -> bool:
    """What `ACTIVE_ADMINS` says in SQL."""
    return bool(user["role"] == Role.ADMIN and user["status"] == UserStatus.ACTIVE)


def email_for(viewer: Viewer, user: Row) -> str | None:
    """A person's e-mail address, for themselves and for admins."""
    email: str = user["email"]
    return email if viewer.is_admin or viewer.id == user["id"] else None


T = TypeVar("T")


def for_admins(viewer: Viewer, value: T) -> T | None:
    """What only admins are told, such as a machine's client id and scopes."""
    return value if viewer.is_admin else None


def must_read_originals(viewer: Viewer) -> None:
    """
    Raises:
        Forbidden: the viewer is a machine that is not for reading pictures.
    """
    if not viewer.is_person and not viewer.has(ServiceScope.IMAGES_READ):
        raise Forbidden(
            f"This service account may not read pictures; it takes the scope {ServiceScope.IMAGES_READ}.",
            "SCOPE",
        )


def may_link(viewer: Viewer) -> bool:
    """Whether a picture that the viewer sees may be linked to.

    A machine's links lead to pictures in flight only; one that sees others too gets the bytes of those
    in flight from `/images/{id}/original`.
    """
    others = set(viewer.scopes) - {ServiceScope.IMAGES_READ, ServiceScope.DEVICES_HEARTBEAT}
    return viewer.is_person or (viewer.has(ServiceScope.IMAGES_READ) and not others)


def access_level(viewer: Viewer, args: Args, alias: str) -> str:
    """An expression for what the viewer may do in the dataset `alias`; null when they can't see it.

    A machine's grant is good for uploading, whatever its level says beyond that.
    """
    if viewer.is_admin:
        return f"'{AccessLevel.MANAGE}'"
    if not viewer.is_person:
        if not viewer.has(ServiceScope.IMAGES_WRITE):
            return f"'{AccessLevel.VIEW}'"
        return (
            f"case when exists (select from dataset_grants g where g.dataset = {alias}.id"
            f" and g.service_account = {args(viewer.id)} and g.level <> '{AccessLevel.VIEW}')"
            f" then '{AccessLevel.CONTRIBUTE}' else '{AccessLevel.VIEW}' end"
        )
    me = args(viewer.id)
    return (
        f"case when {alias}.owner = {me} then '{AccessLevel.MANAGE}'"
        f" else (select g.level from dataset_grants g"
        f' where g.dataset = {alias}.id and g."user" = {me}) end'
    )


IN_FLIGHT = f"f.lease_until is not null and f.status in ('{ItemStatus.QUEUED}', '{ItemStatus.RUNNING}')"
"""What makes an item `f` one that a worker may be at: handed out in this attempt, and open."""


def _if_it_has(viewer: Viewer, scope: ServiceScope) -> str:
    return "true" if viewer.has(scope) else "false"


def access_shown(viewer: Viewer, args: Args, alias: str) -> str:
    """`access_level` of a dataset that is being shown: at least VIEW, even to whoever just gave it up."""
    return f"coalesce({access_level(viewer, args, alias)}, '{AccessLevel.VIEW}')"


def _dataset_ids(viewer: Viewer, args: Args) -> str:
    me = args(viewer.id)
    return (
        f"array(select id from datasets where owner = {me}"
        f' union select dataset from dataset_grants where "user" = {me})'
    )


def dataset_ids(viewer: Viewer, args: Args) -> str | None:
    """An array of the datasets that a person sees; None where another rule decides.

    For a list that is ordered dataset by dataset; the visibility in its WHERE stays.
    """
    return _dataset_ids(viewer, args) if viewer.is_person and not viewer.is_admin else None


def _within(viewer: Viewer, args: Args, dataset: str) -> str:
    return "true" if viewer.is_admin else f"{dataset} = any({_dataset_ids(viewer, args)})"


def visible_datasets(viewer: Viewer, args: Args, alias: str) -> str:
    """Of a machine: those it may upload to, those of pictures that it reads, or all whose runs it reads."""
    if viewer.is_person:
        return _within(viewer, args, f"{alias}.id")
    if viewer.has(ServiceScope.RESULTS_READ):
        return "true"
    seen = []
    if viewer.has(ServiceScope.IMAGES_WRITE):
        seen.append(
            f"exists (select from dataset_grants g where g.dataset = {alias}.id"
            f" and g.service_account = {args(viewer.id)})"
        )
    if viewer.has(ServiceScope.IMAGES_READ):
        seen.append(
            "exists (select from classification_items f join classifications c on c.id = f.classification"
            f" where c.dataset = {alias}.id and {IN_FLIGHT})"
        )
    return f"({' or '.join(seen)})" if seen else "false"


def visible_images(viewer: Viewer, args: Args, alias: str) -> str:
    """What is told of pictures; whose bytes may be read, `visible_originals` says.

    What is in flight is few and comes as an array, so that a list of them need not try every picture.
    """
    if viewer.is_person:
        return _within(viewer, args, f"{alias}.dataset")
    if viewer.has(ServiceScope.RESULTS_READ):
        return "true"
    in_flight = f"{alias}.id = any(array(select f.image from classification_items f where {IN_FLIGHT}))"
    return in_flight if viewer.has(ServiceScope.IMAGES_READ) else "false"


def visible_originals(viewer: Viewer, args: Args, alias: str) -> str:
    """Pictures whose bytes may be read, one at a time; a machine's in flight only, whatever else it sees."""
    if viewer.is_person:
        return visible_images(viewer, args, alias)
    in_flight = f"exists (select from classification_items f where f.image = {alias}.id and {IN_FLIGHT})"
    return in_flight if viewer.has(ServiceScope.IMAGES_READ) else "false"


def visible_classifications(viewer: Viewer, args: Args, alias: str) -> str:
    if not viewer.is_person:
        return _if_it_has(viewer, ServiceScope.RESULTS_READ)
    return _within(viewer, args, f"{alias}.dataset")


def visible_results(viewer: Viewer, args: Args, alias: str) -> str:
    if not viewer.is_person:
        return _if_it_has(viewer, ServiceScope.RESULTS_READ)
    return _within(viewer, args, f"{alias}.dataset")


def visible_items(viewer: Viewer, args: Args, alias: str) -> str:
    if not viewer.is_person:
        return _if_it_has(viewer, ServiceScope.RESULTS_READ)
    if viewer.is_admin:
        return "true"
    return (
        f"exists (select from classifications v where v.id = {alias}.classification"
        f" and {visible_classifications(viewer, args, 'v')})"
    )


def visible_grants(viewer: Viewer, args: Args, alias: str) -> str:
    """In full for those who manage the dataset; otherwise the owner's and one's own."""
    if not viewer.is_person:
        return "false"
    if viewer.is_admin:
        return "true"
    me = args(viewer.id)
    sees = visible_datasets(viewer, args, "v")
    return (
        f"exists (select from datasets v where v.id = {alias}.dataset and {sees}"
        f' and ({alias}."user" = {me} or {alias}."user" = v.owner'
        f" or {access_level(viewer, args, 'v')} = '{AccessLevel.MANAGE}'))"
    )


def visible_users(viewer: Viewer, args: Args, alias: str) -> str:
    """Admins see everybody; others themselves and those with whom they share a dataset."""
    if not viewer.is_person:
        return "false"
    if viewer.is_admin:
        return "true"
    mine = _dataset_ids(viewer, args)
    return (
        f"({alias}.id = {args(viewer.id)}"
        f" or exists (select from datasets v where v.owner = {alias}.id and v.id = any({mine}))"
        f' or exists (select from dataset_grants v where v."user" = {alias}.id and v.dataset = any({mine})))'
    )


def visible_sessions(viewer: Viewer, args: Args, alias: str) -> str:
    """One's own, for admins too."""
    return f'{alias}."user" = {args(viewer.id)}'


def user_search(viewer: Viewer, alias: str) -> str:
    """What a search for people looks through: usernames, for admins e-mail addresses too."""
    return (
        f"({alias}.search_text || ' ' || {alias}.search_email)" if viewer.is_admin else f"{alias}.search_text"
    )


def seen_by_all(viewer: Viewer, args: Args, alias: str) -> str:  # noqa: ARG001 - one shape for all rules
    """For what every signed-in person may see: models, and the name behind a visible row."""
    return "true" if viewer.is_person else "false"


def visible_devices(viewer: Viewer, args: Args, alias: str) -> str:  # noqa: ARG001 - one shape for all rules
    """Every signed-in person sees all devices; so does a machine that reports that they are alive."""
    return "true" if viewer.is_person else _if_it_has(viewer, ServiceScope.DEVICES_HEARTBEAT)


def seen_by_admins(viewer: Viewer, args: Args, alias: str) -> str:  # noqa: ARG001 - one shape for all rules
    """For what only administrators see, such as dead letters."""
    return "true" if viewer.is_admin else "false"


def named_on_visible_rows(viewer: Viewer, args: Args, alias: str) -> str:  # noqa: ARG001 - one shape for all
    """For whoever is named on a row that the viewer sees already: an owner, an uploader."""
    return "true"


Visibility = Callable[[Viewer, Args, str], str]

VISIBLE: dict[type[tables.Table], Visibility] = {
    tables.User: visible_users,
    tables.LoginSession: visible_sessions,
    tables.ServiceAccount: seen_by_admins,
    tables.Device: visible_devices,
    tables.Model: seen_by_all,
    tables.DeadLetter: seen_by_admins,
    tables.Dataset: visible_datasets,
    tables.DatasetGrant: visible_grants,
    tables.Image: visible_images,
    tables.Classification: visible_classifications,
    tables.ClassificationItem: visible_items,
    tables.ClassificationResult: visible_results,
}
"""The rule for each table that is read for somebody."""

DATASET_OF = {
    tables.Image: "dataset",
    tables.Classification: "dataset",
    tables.ClassificationResult: "dataset",
}
"""The column of the dataset that a row's visibility hangs on, where there may be very many rows."""
