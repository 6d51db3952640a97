"""Who may do what, and who sees which rows. No other module compares roles or levels.

A `visible_<things>` function writes a condition for a WHERE; its second argument collects values, its
third is the alias by which the statement knows the table. What hangs on a dataset is seen by whoever
sees the dataset: its owner, those with a grant, admins.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from bioscope_gql import tables
from bioscope_gql.db import Args, Row
from bioscope_gql.errors import Forbidden
from bioscope_gql.vocabulary import AccessLevel, Role, ServiceScope, UserStatus

LADDER = {Role.USER: 1, Role.ANALYST: 2, Role.ADMIN: 3}
LEVELS = {AccessLevel.VIEW: 1, AccessLevel.CONTRIBUTE: 2, AccessLevel.MANAGE: 3}

ACTIVE_ADMINS = f"role = '{Role.ADMIN}' and status = '{UserStatus.ACTIVE}'"
"""Which rows of `users` are those who can administer."""


class Action(StrEnum):
    """What needs a rung of the ladder, in words that complete "may ..."."""

    RUN_MODELS = "run a model"
    MANAGE_USERS = "manage accounts"
    READ_DEAD_LETTERS = "read dead letters"


NEEDS = {
    Action.RUN_MODELS: Role.ANALYST,
    Action.MANAGE_USERS: Role.ADMIN,
    Action.READ_DEAD_LETTERS: Role.ADMIN,
}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever asks: a person, or a machine with scopes (then `role` is None)."""

    id: UUID
    role: Role | None
    name: str = ""
    session: UUID | None = None
    expires_at: datetime | None = None
    scopes: Collection[ServiceScope] = field(default_factory=frozenset)

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    @property
    def is_person(self) -> bool:
        return self.role is not None

    def may(self, action: Action) -> bool:
        return self.role is not None and LADDER[self.role] >= LADDER[NEEDS[action]]

    def must(self, action: Action) -> None:
        """
        Raises:
            Forbidden: this viewer's role does not reach so far.
        """
        if self.may(action):
            return
        if self.role is None:
            raise Forbidden(f"A service account may not {action}; sign in as a person.", "SCOPE")
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


def is_active_admin(user: Row) -> bool:
    """What `ACTIVE_ADMINS` says in SQL."""
    return bool(user["role"] == Role.ADMIN and user["status"] == UserStatus.ACTIVE)


def email_for(viewer: Viewer, user: Row) -> str | None:
    """A person's e-mail address, for themselves and for admins."""
    email: str = user["email"]
    return email if viewer.is_admin or viewer.id == user["id"] else None


def access_level(viewer: Viewer, args: Args, alias: str) -> str:
    """An expression for what the viewer may do in the dataset `alias`; null when they can't see it."""
    if viewer.is_admin:
        return f"'{AccessLevel.MANAGE}'"
    me = args(viewer.id)
    holder = "user" if viewer.is_person else "service_account"
    return (
        f"case when {alias}.owner = {me} then '{AccessLevel.MANAGE}'"
        f" else (select g.level from dataset_grants g"
        f' where g.dataset = {alias}.id and g."{holder}" = {me}) end'
    )


def _dataset_ids(viewer: Viewer, args: Args) -> str:
    me = args(viewer.id)
    if not viewer.is_person:
        return f"array(select dataset from dataset_grants where service_account = {me})"
    return (
        f"array(select id from datasets where owner = {me}"
        f' union all select dataset from dataset_grants where "user" = {me})'
    )


def dataset_ids(viewer: Viewer, args: Args) -> str | None:
    """An array of the datasets that a person sees; None where another rule decides.

    For a list that is ordered dataset by dataset; the visibility in its WHERE stays.
    """
    return _dataset_ids(viewer, args) if viewer.is_person and not viewer.is_admin else None


def _within(viewer: Viewer, args: Args, dataset: str) -> str:
    return "true" if viewer.is_admin else f"{dataset} = any({_dataset_ids(viewer, args)})"


def visible_datasets(viewer: Viewer, args: Args, alias: str) -> str:
    return _within(viewer, args, f"{alias}.id")


def visible_images(viewer: Viewer, args: Args, alias: str) -> str:
    return _within(viewer, args, f"{alias}.dataset")


def visible_classifications(viewer: Viewer, args: Args, alias: str) -> str:
    return _within(viewer, args, f"{alias}.dataset")


def visible_results(viewer: Viewer, args: Args, alias: str) -> str:
    return _within(viewer, args, f"{alias}.dataset")


def visible_items(viewer: Viewer, args: Args, alias: str) -> str:
    if viewer.is_admin:
        return "true"
    return (
        f"exists (select from classifications v where v.id = {alias}.classification"
        f" and {visible_classifications(viewer, args, 'v')})"
    )


def visible_grants(viewer: Viewer, args: Args, alias: str) -> str:
    """In full for those who manage the dataset; otherwise one's own."""
    if viewer.is_admin:
        return "true"
    me = args(viewer.id)
    return (
        f'({alias}."user" = {me} or exists (select from datasets v where v.id = {alias}.dataset and'
        f" (v.owner = {me} or exists (select from dataset_grants m where m.dataset = v.id"
        f" and m.\"user\" = {me} and m.level = '{AccessLevel.MANAGE}'))))"
    )


def visible_users(viewer: Viewer, args: Args, alias: str) -> str:
    """Admins see everybody; others themselves and those with whom they share a dataset."""
    if viewer.is_admin:
        return "true"
    mine = _dataset_ids(viewer, args)
    return (
        f"({alias}.id = {args(viewer.id)}"
        f" or exists (select from datasets v where v.owner = {alias}.id and v.id = any({mine}))"
        f' or exists (select from dataset_grants v where v."user" = {alias}.id and v.dataset = any({mine})))'
    )


def seen_by_all(viewer: Viewer, args: Args, alias: str) -> str:  # noqa: ARG001 - one shape for all rules
    """For what every signed-in person may see: devices, models, and the name behind a visible row."""
    return "true" if viewer.is_person else "false"


def seen_by_admins(viewer: Viewer, args: Args, alias: str) -> str:  # noqa: ARG001 - one shape for all rules
    """For what only administrators see, such as dead letters."""
    return "true" if viewer.is_admin else "false"


def named_on_visible_rows(viewer: Viewer, args: Args, alias: str) -> str:  # noqa: ARG001 - one shape for all
    """For whoever is named on a row that the viewer sees already: an owner, an uploader."""
    return "true"


Visibility = Callable[[Viewer, Args, str], str]

VISIBLE: dict[type[tables.Table], Visibility] = {
    tables.User: visible_users,
    tables.Device: seen_by_all,
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
