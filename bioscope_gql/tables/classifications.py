"""Runs, their items and what came out. `docs/state-machine.md` has the drawing."""

from piccolo.columns import (
    JSONB,
    UUID,
    BigInt,
    Boolean,
    Bytea,
    DoublePrecision,
    ForeignKey,
    Integer,
    SmallInt,
    Text,
    Varchar,
)
from piccolo.columns.base import OnDelete
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from bioscope_gql.tables.columns import identity, moment, now, one_of, word
from bioscope_gql.tables.datasets import Dataset
from bioscope_gql.tables.images import Image
from bioscope_gql.tables.models import Model
from bioscope_gql.tables.users import User
from bioscope_gql.vocabulary import PRIORITY_RANK, ClassificationStatus, ItemStatus, Priority


class Classification(Table, tablename="classifications"):
    """A run of one model over the pictures that were there when it was made.

    `status` is a generated column: PostgreSQL derives it from the counters, nobody can set it.
    `trace` is the place of the operation that made it in a trace, as W3C's traceparent, where one is kept.
    `version` grows with every change, under the row's lock, and is stamped on the items that changed.
    """

    id = identity()
    dataset = ForeignKey(Dataset, null=False, on_delete=OnDelete.cascade)
    image = ForeignKey(Image, null=True, default=None, on_delete=OnDelete.cascade)
    model = ForeignKey(Model, null=False, on_delete=OnDelete.restrict)
    model_name = Varchar(length=100)
    model_version = Varchar(length=100)
    priority = SmallInt(default=PRIORITY_RANK[Priority.NORMAL])
    status = word(ClassificationStatus.PENDING)
    total = Integer()
    queued = Integer()
    running = Integer(default=0)
    succeeded = Integer(default=0)
    failed = Integer(default=0)
    cancelled = Integer(default=0)
    only_missing = Boolean(default=False)
    skipped_count = Integer(default=0)
    error = Text(null=True, default=None)
    created_by = ForeignKey(User, null=True, default=None, on_delete=OnDelete.set_null)
    trace = Varchar(length=55, null=True, default=None, secret=True)
    version = BigInt(default=1)
    created_at = now()
    updated_at = now()
    started_at = moment()
    finished_at = moment()

    classifications_add_up = Check("total = queued + running + succeeded + failed + cancelled")
    classifications_counters_positive = Check("least(queued, running, succeeded, failed, cancelled) >= 0")
    classifications_finished_when_done = Check("(queued + running = 0) = (finished_at is not null)")


class ClassificationItem(Table, tablename="classification_items"):
    """One picture of a run: the ledger of its state and, while QUEUED, the outbox of its job.

    `attempt` fences answers; `tries` counts ended leases; `dispatched_at` belongs to this attempt.
    """

    id = identity()
    classification = ForeignKey(Classification, null=False, on_delete=OnDelete.cascade)
    image = ForeignKey(Image, null=False, on_delete=OnDelete.cascade)
    model = ForeignKey(Model, null=False, on_delete=OnDelete.restrict)
    status = word(ItemStatus.QUEUED)
    attempt = Integer(default=1)
    tries = Integer(default=0)
    version = BigInt(default=1)
    error_code = Varchar(length=64, null=True, default=None)
    error_message = Text(null=True, default=None)
    worker_name = Varchar(length=200, null=True, default=None)
    queued_at = now()
    dispatched_at = moment()
    lease_until = moment()
    started_at = moment()
    finished_at = moment()

    classification_items_once = Unique([classification, image])
    classification_items_status_known = one_of("status", ItemStatus)
    classification_items_attempt_positive = Check("attempt >= 1 and tries >= 0")


class ClassificationResult(Table, tablename="classification_results"):
    """What a model said of one picture in one run. `dataset` repeats the run's, for lists and visibility.

    `newest_of_...`: no newer one is of that model, or of that version; `resolvers/newest.py` keeps it true.
    """

    id = identity()
    item = ForeignKey(ClassificationItem, null=False, on_delete=OnDelete.cascade)
    classification = ForeignKey(Classification, null=False, on_delete=OnDelete.cascade)
    image = ForeignKey(Image, null=False, on_delete=OnDelete.cascade)
    dataset = ForeignKey(Dataset, null=False, on_delete=OnDelete.cascade)
    label = Varchar(length=255)
    confidence = DoublePrecision()
    scores = JSONB()
    model_name = Varchar(length=100)
    model_version = Varchar(length=100)
    model_digest = Varchar(length=100, null=True, default=None)
    worker_name = Varchar(length=200, null=True, default=None)
    measurements = JSONB(default="[]")
    details = JSONB(default="{}")
    duration_ms = Integer(null=True, default=None)
    newest_of_model = Boolean(default=True)
    newest_of_version = Boolean(default=True)
    created_at = now()

    classification_results_one_per_item = Unique([item])
    classification_results_confidence_valid = Check("confidence between 0 and 1")


class IdempotencyKey(Table, tablename="idempotency_keys"):
    """What a caller started under a key of theirs. It outlives the run: a repeat starts none."""

    id = identity()
    created_by = ForeignKey(User, null=False, on_delete=OnDelete.cascade)
    key = Varchar(length=255)
    input_hash = Bytea(secret=True)
    classification = UUID()
    created_at = now()

    idempotency_keys_once = Unique([created_by, key])


class DeadLetter(Table, tablename="dead_letters"):
    """A message that could not be stored, with its reason. `payload` is cut at the limit of the settings."""

    id = identity()
    topic = Varchar(length=249)
    partition = Integer()
    offset = BigInt()
    reason = Text()
    payload = Text(null=True, default=None)
    payload_is_cut = Boolean(default=False)
    received_at = now()
    replayed_at = moment()

    dead_letters_once = Unique([topic, partition, offset])
