"""What a caller can act on, as types: every mutation answers with its success or one of these."""

from collections.abc import Awaitable, Callable
from typing import Any

import strawberry
from strawberry.extensions import FieldExtension

from bioscope_gql import errors
from bioscope_gql.schema import machines


@strawberry.interface(description="Why something was not done, in a whole sentence and a code for programs.")
class Problem:
    code: str
    message: str


@strawberry.type(description="It is not there, or not for the caller's eyes: the two answer alike.")
class NotFound(Problem):
    ids: list[strawberry.ID] = strawberry.field(
        description="Those of the ids sent that are not there for the caller."
    )


@strawberry.type(description="The caller may see it, but not do this.")
class Forbidden(Problem):
    pass


@strawberry.type(description="It contradicts what is there already.")
class Conflict(Problem):
    pass


@strawberry.type(description="One thing that is wrong with an input.")
class FieldProblem:
    code: str
    path: list[str] = strawberry.field(description='Where in the input, e.g. ["files", "2"]')
    message: str


@strawberry.type(description="Something in the input can't be; nothing was done.")
class InvalidInput(Problem):
    fields: list[FieldProblem]


@strawberry.type(description="No account matches, or the session has ended.")
class InvalidCredentials(Problem):
    pass


@strawberry.type(description="Too much at once; the same will be taken later.")
class RateLimited(Problem):
    retry_after_seconds: int


@strawberry.type(description="No model of that name, or none that can take these images.")
class ModelUnavailable(Problem):
    pass


@strawberry.type(
    description="No picture is left to classify: the target is empty, or onlyMissing found a result for each."
)
class NothingToDo(Problem):
    skipped_count: int


SHOWN_AS: dict[type[errors.Problem], type[Problem]] = {
    errors.NotFound: NotFound,
    errors.Forbidden: Forbidden,
    errors.Conflict: Conflict,
    errors.InvalidInput: InvalidInput,
    errors.InvalidCredentials: InvalidCredentials,
    errors.RateLimited: RateLimited,
    errors.ModelUnavailable: ModelUnavailable,
    errors.NothingToDo: NothingToDo,
}


def shown(problem: errors.Problem) -> Problem:
    """The type of the same name, with the same facts."""
    facts = dict(vars(problem))
    if isinstance(problem, errors.InvalidInput):
        facts["fields"] = [
            FieldProblem(code=each.code, path=list(each.path), message=each.message)
            for each in problem.fields
        ]
    return SHOWN_AS[type(problem)](**facts)


class ProblemsAsData(FieldExtension):
    """Answers with a problem that was raised; machines get no further than their scopes reach."""

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any
    ) -> Any:
        try:
            machines.must_mutate(info.context.caller, info.field_name)
            return await next_(source, info, **kwargs)
        except errors.Problem as problem:
            answer = shown(problem)
            if type(answer) not in getattr(info.return_type, "types", ()):
                raise  # a top-level error: the union has no place for it
            return answer
