"""What can go wrong that a caller can do something about.

Resolvers raise these. `schema/problems.py` shows each `Problem` as the GraphQL type of the same
name; a `Refusal` becomes a top-level error with its code. Whatever else escapes is a bug: masked
for the client, logged for us.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bioscope_gql.vocabulary import RejectionCode


@dataclass(eq=False)
class Problem(Exception):
    """An answer that a client can act on. The message is a whole sentence for a person."""

    message: str
    code: str = ""

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class NotFound(Problem):
    """Absent, or not for the caller's eyes: the two answer alike."""

    code: str = "NOT_FOUND"
    ids: Sequence[str] = ()


@dataclass(eq=False)
class Forbidden(Problem):
    """Visible, but the right is lacking. Codes: ROLE, ACCESS, SCOPE, REGISTRATION_CLOSED."""

    code: str = "ROLE"


@dataclass(eq=False)
class Conflict(Problem):
    """It contradicts what is there already, e.g. EMAIL_TAKEN, NAME_TAKEN, RUN_FINISHED."""

    code: str = "CONFLICT"


@dataclass(eq=False)
class FieldProblem:
    """One thing wrong with an input; `path` says where, e.g. ``("password",)``."""

    code: str
    path: Sequence[str]
    message: str


@dataclass(eq=False)
class InvalidInput(Problem):
    code: str = "INVALID_INPUT"
    fields: Sequence[FieldProblem] = field(default_factory=tuple)

    @classmethod
    def at(cls, code: str, path: Sequence[str], message: str) -> "InvalidInput":
        """One field is wrong."""
        return cls(message, fields=(FieldProblem(code, path, message),))


@dataclass(eq=False)
class InvalidCredentials(Problem):
    message: str = "No account matches this login and password. Check both and try again."
    code: str = "INVALID_CREDENTIALS"


@dataclass(eq=False)
class RateLimited(Problem):
    code: str = "RATE_LIMITED"
    retry_after_seconds: int = 1


@dataclass(eq=False)
class ModelUnavailable(Problem):
    """Codes: UNKNOWN_MODEL, AMBIGUOUS_MODEL, UNSUPPORTED_CONTENT_TYPE."""

    code: str = "UNKNOWN_MODEL"


@dataclass(eq=False)
class NothingToDo(Problem):
    code: str = "NOTHING_TO_DO"
    skipped_count: int = 0


@dataclass(eq=False)
class Rejected(Exception):
    """A file that is not stored; its neighbours in the same upload are not concerned."""

    code: RejectionCode
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class Refusal(Exception):
    """The operation as a whole is refused: a top-level error with `extensions.code`."""

    message: str
    code: str = "BAD_USER_INPUT"

    def __str__(self) -> str:
        return self.message

    @property
    def extensions(self) -> dict[str, object]:
        return {"code": self.code}


@dataclass(eq=False)
class Unauthenticated(Refusal):
    """No token, or one that does not hold. Reasons: MISSING, EXPIRED, INVALID, REVOKED."""

    code: str = "UNAUTHENTICATED"
    reason: str = "MISSING"

    @property
    def extensions(self) -> dict[str, object]:
        return {"code": self.code, "reason": self.reason}


@dataclass(eq=False)
class Unavailable(Refusal):
    """The database is away; the one refusal that is a 5xx."""

    message: str = "The database does not answer at the moment. Try again in a few seconds."
    code: str = "SERVICE_UNAVAILABLE"


@dataclass(eq=False)
class ConfigurationError(Exception):
    """The process can't start as it was told to; one sentence for each problem."""

    problems: Sequence[str]

    def __str__(self) -> str:
        return "\n".join(self.problems)
