"""The printed schema keeps the public contract: all of it, as it was promised."""

from pathlib import Path
from typing import Any

from graphql import (
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    InputObjectTypeDefinitionNode,
    InterfaceTypeDefinitionNode,
    ObjectTypeDefinitionNode,
    TypeDefinitionNode,
    UnionTypeDefinitionNode,
    parse,
    print_ast,
)

ROOT = Path(__file__).parents[1]
CONTRACT = (ROOT / "docs" / "contract.graphql").read_text("utf-8")

Facts = dict[str, str]
"""What is promised of each `Type`, `Type.field`, `Type.field(argument)`, `Union|Member`, `Type&Interface`."""


def printed() -> Facts:
    from bioscope_gql.schema import print_schema

    return facts(print_schema())


def facts(sdl: str) -> Facts:
    found: Facts = {}
    for node in parse(sdl).definitions:
        if isinstance(node, TypeDefinitionNode):
            found |= facts_of(node)
    return found


def facts_of(node: TypeDefinitionNode) -> Facts:
    name = node.name.value
    one_of = any(directive.name.value == "oneOf" for directive in node.directives or ())
    found = {name: node.kind + " @oneOf" * one_of}
    match node:
        case ObjectTypeDefinitionNode() | InterfaceTypeDefinitionNode():
            found |= {f"{name}&{interface.name.value}": "" for interface in node.interfaces or ()}
            for field in node.fields or ():
                found |= facts_of_field(f"{name}.{field.name.value}", field)
        case InputObjectTypeDefinitionNode():
            found |= {f"{name}.{field.name.value}": value(field) for field in node.fields or ()}
        case EnumTypeDefinitionNode():
            found |= {f"{name}.{each.name.value}": "" for each in node.values or ()}
        case UnionTypeDefinitionNode():
            found |= {f"{name}|{member.name.value}": "" for member in node.types or ()}
    return found


def facts_of_field(coordinate: str, field: FieldDefinitionNode) -> Facts:
    arguments = {f"{coordinate}({each.name.value})": value(each) for each in field.arguments or ()}
    return {coordinate: print_ast(field.type), **arguments}


def value(node: Any) -> str:
    """An argument's or input field's type, with its default."""
    default = f" = {print_ast(node.default_value)}" if node.default_value else ""
    return print_ast(node.type) + default


def above(coordinate: str) -> list[str]:
    """What a coordinate lies within, and for members and interfaces also what it names."""
    for sign in "|&":
        if sign in coordinate:
            return coordinate.split(sign)
    name, _, field = coordinate.partition(".")
    return [name, f"{name}.{field.partition('(')[0]}"]


def lacking(contract: Facts, ours: Facts) -> list[str]:
    """What the contract has and we don't; of what is missing as a whole, only the whole."""
    gone = {coordinate: None for coordinate in contract if coordinate not in ours}
    return [each for each in gone if not any(part in gone and part != each for part in above(each))]


def contradictions(contract: Facts, ours: Facts) -> dict[str, tuple[str, str]]:
    """Whatever both have, but differently: kind, type, nullability, default."""
    return {
        each: (promise, ours[each])
        for each, promise in contract.items()
        if ours.get(each, promise) != promise
    }


def newly_required(contract: Facts, ours: Facts) -> list[str]:
    """Arguments and input fields that a client of the contract would not send."""
    inputs = {name for name, kind in contract.items() if kind.startswith("input_object")}
    return [
        each
        for each, promise in ours.items()
        if each not in contract and promise.endswith("!")
        if ("(" in each and each.partition("(")[0] in contract) or each.partition(".")[0] in inputs
    ]


def test_nothing_of_the_contract_is_missing() -> None:
    assert lacking(facts(CONTRACT), printed()) == []


def test_nothing_that_we_promise_contradicts_the_contract() -> None:
    assert contradictions(facts(CONTRACT), printed()) == {}


def test_a_client_of_the_contract_need_not_send_anything_new() -> None:
    assert newly_required(facts(CONTRACT), printed()) == []


def test_a_missing_type_is_told_once_and_a_missing_field_by_itself() -> None:
    contract = facts(
        "union U = A | B type A { x(y: Int): Int z(w: Int): Int } type B { x: A } input I @oneOf { a: ID }"
    )
    ours = facts("union U = A type A { x: Int }")

    assert lacking(contract, ours) == ["A.x(y)", "A.z", "B", "I"]


def test_every_kind_of_contradiction_is_found() -> None:
    contract = facts(
        "type A { x: Int! y(first: Int = 20): Int z: Int } input I @oneOf { a: ID b: ID } enum E { P }"
    )
    ours = facts(
        "interface A { x: Int y(first: Int = 10): Int z: Int } input I { a: ID b: ID! } enum E { P Q }"
    )

    assert sorted(contradictions(contract, ours)) == ["A", "A.x", "A.y(first)", "I", "I.b"]


def test_what_is_newly_required_is_found() -> None:
    contract = facts("type Q { a: Int b(x: Int): Int } input I { a: ID }")
    queries = "type Q { a(n: Int!): Int b(x: Int, k: Int! = 1): Int c(n: Int!): Int! }"
    ours = facts(queries + " input I { a: ID b: ID! c: ID }")

    assert newly_required(contract, ours) == ["Q.a(n)", "I.b"]
