"""Sign-ins, and what was done by whom."""

from piccolo.columns import JSONB, UUID, Bytea, ForeignKey, Integer, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from bioscope_gql.tables.columns import identity, moment, now
from bioscope_gql.tables.users import User


class LoginSession(Table, tablename="login_sessions"):
    """One sign-in. It stands behind every token of it: ended here, they are all worth nothing."""

    id = identity()
    user = ForeignKey(User, null=False, on_delete=OnDelete.cascade)
    user_agent = Varchar(length=400, null=True, default=None)
    created_at = now()
    last_used_at = now()
    expires_at = now()
    ended_at = moment()
    end_reason = Varchar(length=32, null=True, default=None)


class RefreshToken(Table, tablename="refresh_tokens"):
    """A one-use key to the next access token, kept as its SHA-256 only."""

    id = identity()
    session = ForeignKey(LoginSession, null=False, on_delete=OnDelete.cascade)
    token_hash = Bytea(secret=True)
    replaces = UUID(null=True, default=None)
    created_at = now()
    expires_at = now()
    used_at = moment()

    refresh_tokens_once = Unique([token_hash])
    refresh_tokens_hash_whole = Check("octet_length(token_hash) = 32")


class PasswordLink(Table, tablename="password_links"):
    """With its token a person sets a password, once. Kept as the token's SHA-256 only."""

    id = identity()
    user = ForeignKey(User, null=False, on_delete=OnDelete.cascade, index=True)
    token_hash = Bytea(secret=True)
    created_at = now()
    expires_at = now()
    used_at = moment()

    password_links_once = Unique([token_hash])
    password_links_hash_whole = Check("octet_length(token_hash) = 32")


class RateLimit(Table, tablename="rate_limits"):
    """How often something was tried within a window; `key` is a hash, so that no login stands here."""

    key = Varchar(length=64, primary_key=True)
    hits = Integer()
    ends_at = now()


class AuditEvent(Table, tablename="audit_events"):
    """Who did what to whom. A trigger refuses to change or delete any; they outlive what they speak of."""

    id = identity()
    at = now()
    actor_kind = Varchar(length=16)
    actor = UUID(null=True, default=None)
    action = Varchar(length=64)
    subject_kind = Varchar(length=32, null=True, default=None)
    subject = UUID(null=True, default=None)
    request_id = Varchar(length=64, null=True, default=None)
    address = Varchar(length=45, null=True, default=None)
    details = JSONB(default="{}")
