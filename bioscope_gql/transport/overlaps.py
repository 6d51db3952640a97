"""Whether fields of one response name can be merged: graphql-core's own rule, within bounds of ours.

It compares the fields of a name in pairs, through fragments and all that is nested, and gives up after
500,000 steps of up to a microsecond. A page that spreads 60 fragments with an id, a type name and a name of
their own over one object takes 20,000.
"""

from typing import Any

from graphql import ASTValidationRule, OverlappingFieldsCanBeMergedRule, ValidationContext
from graphql.validation.validate import ValidationAbortedError

from bioscope_gql.transport.limits import TooComplex


def overlaps_within(most: int) -> type[ASTValidationRule]:
    """The rule, for `validate` to apply; it raises `TooComplex` where it would take more than `most` steps.

    Make it once: caches of validation go by the identity of rules.
    """

    class OverlapsWithin(OverlappingFieldsCanBeMergedRule):
        def __init__(self, context: ValidationContext) -> None:
            super().__init__(context)
            self.rule_context.remaining_complexity_budget = most

        def enter_selection_set(self, *args: Any) -> None:
            try:
                super().enter_selection_set(*args)
            except ValidationAbortedError:
                if self.rule_context.remaining_complexity_budget >= 0:
                    raise  # because of too many errors
                message = (
                    f"To compare the fields that have the same name takes more than {most:,} steps. "
                    "Select each field once, and the same object by fewer fragments."
                )
                raise TooComplex(message, limit="comparisons", maximum=most) from None

    return OverlapsWithin
