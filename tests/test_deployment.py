"""The files that people deploy with say what the code says. There is no engine here to run them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from bioscope_gql.cli import parser
from bioscope_gql.errors import ConfigurationError
from bioscope_gql.setting_sources import places, variable
from bioscope_gql.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE = (ROOT / "docker-compose.yml").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<text>[^}]*))?\}")
OURS = ("api", "worker")


def env_file(text: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


EXAMPLE = env_file((ROOT / ".env.example").read_text("utf-8"))
FILLED = {name: value or "0123456789abcdef" for name, value in EXAMPLE.items()}


def compose(environ: Mapping[str, str]) -> dict[str, Any]:
    """The compose file as `docker compose` would read it.

    Raises:
        KeyError: a variable that it requires is not set.
    """

    def value(match: re.Match[str]) -> str:
        name, kind, text = match["name"], match["kind"], match["text"]
        if environ.get(name):
            return environ[name]
        if kind == "-":
            return str(text)
        raise KeyError(name)

    loaded: dict[str, Any] = yaml.safe_load(VARIABLE.sub(value, COMPOSE))
    return loaded


def settings_of(service: str) -> Settings:
    environ = compose(FILLED)["services"][service]["environment"]
    return Settings.load(None, environ, command=arguments_of(service).command)


def arguments_of(service: str) -> Any:
    return parser().parse_args(compose(FILLED)["services"][service]["command"])


@pytest.mark.parametrize("service", OURS)
def test_every_variable_of_a_service_is_a_setting(service: str) -> None:
    known = {variable(place) for place in places(Settings)}
    assert set(compose(FILLED)["services"][service]["environment"]) - known == set()


def test_the_server_starts_with_what_the_compose_file_gives_it() -> None:
    settings = settings_of("api")
    assert settings.database.dsn is not None
    assert settings.kafka.bootstrap_servers == ("kafka:9092",)
    assert settings.s3.bucket == "bioscope"
    assert settings.auth.registration == "closed"


def test_the_worker_starts_with_what_the_compose_file_gives_it() -> None:
    settings_of("worker").require("kafka")


@pytest.mark.parametrize("name", [name for name, value in EXAMPLE.items() if not value])
def test_there_is_no_default_password(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        compose({**FILLED, name: ""})


def test_no_password_stands_in_the_files() -> None:
    secret = re.compile(r"(password|secret)\w*:\s+(?!\$\{\w+:\?)\S", re.IGNORECASE)
    assert secret.findall(COMPOSE) == []
    assert re.findall(r"(?i)\b(?:ARG|ENV)\b.*(?:password|secret|token)", DOCKERFILE) == []


def test_the_example_of_the_environment_names_what_the_compose_file_uses() -> None:
    assert set(EXAMPLE) == {match["name"] for match in VARIABLE.finditer(COMPOSE)}


def test_the_files_with_secrets_stay_out_of_git_and_of_the_image() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text("utf-8").split()
    assert (ROOT / ".dockerignore").read_text("utf-8").splitlines()[1] == "*"


def test_the_server_says_no_when_the_environment_is_empty() -> None:
    with pytest.raises(ConfigurationError):
        Settings.load(None, {}, command="serve")


def test_the_address_of_each_part_is_a_service_with_that_port() -> None:
    settings, services = settings_of("api"), compose(FILLED)["services"]
    database = urlsplit(settings.database.dsn.get_secret_value() if settings.database.dsn else "")

    assert database.hostname in services
    assert (database.username, database.path[1:]) == (
        services["postgres"]["environment"]["POSTGRES_USER"],
        services["postgres"]["environment"]["POSTGRES_DB"],
    )
    assert database.password == services["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert (
        f"INSIDE://{settings.kafka.bootstrap_servers[0]}"
        in (services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"])
    )
    assert settings.s3.endpoint == "http://minio:9000"
    assert settings.s3.access_key == services["minio"]["environment"]["MINIO_ROOT_USER"]
    assert settings.s3.secret_key is not None
    assert (
        settings.s3.secret_key.get_secret_value() == services["minio"]["environment"]["MINIO_ROOT_PASSWORD"]
    )


def test_the_published_port_is_the_servers() -> None:
    port = settings_of("api").app.port
    assert compose(FILLED)["services"]["api"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"EXPOSE {port}\n" in DOCKERFILE
    assert f"http://127.0.0.1:{port}/health/live" in DOCKERFILE
    assert arguments_of("api").host == "0.0.0.0"
    assert arguments_of("api").migrate is True


def test_nothing_is_published_beyond_this_machine_unless_told_so() -> None:
    ports = [port for service in compose(FILLED)["services"].values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_volume_is_declared_and_every_declared_one_is_used() -> None:
    read = compose(FILLED)
    mounts = [mount for service in read["services"].values() for mount in service.get("volumes", [])]
    used = {mount.partition(":")[0] for mount in mounts if isinstance(mount, str)}
    assert used == set(read["volumes"])


@pytest.mark.parametrize("service", ["api", "postgres", "kafka", "minio"])
def test_every_server_is_watched(service: str) -> None:
    assert "HEALTHCHECK" in DOCKERFILE
    assert service == "api" or compose(FILLED)["services"][service]["healthcheck"]["test"][0] == "CMD"


def test_whoever_is_waited_for_is_there_and_is_watched() -> None:
    services = compose(FILLED)["services"]
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            assert name in services
            if condition["condition"] == "service_healthy":
                assert "test" in services[name]["healthcheck"]


def test_the_signing_key_is_made_where_the_server_looks_for_it(tmp_path: Path) -> None:
    keys = compose(FILLED)["services"]["keys"]
    where = Path(settings_of("api").auth.keys[0])
    assert f"{where.parent}" in keys["volumes"][0]
    assert keys["entrypoint"] == ["python", "-c"]

    program = keys["command"][0].replace(str(where.parent), str(tmp_path / "keys"))
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)

    assert (tmp_path / "keys" / where.name).read_text().startswith("-----BEGIN PRIVATE KEY-----")


def test_postgres_is_new_enough() -> None:
    image = compose(FILLED)["services"]["postgres"]["image"]
    assert int(re.fullmatch(r"postgres:(\d+)", image)[1]) >= 18  # type: ignore[index]


@pytest.mark.parametrize("service", ["keys", *OURS])
def test_our_containers_may_do_little(service: str) -> None:
    read = compose(FILLED)["services"][service]
    assert (read["read_only"], read["cap_drop"]) == (True, ["ALL"])
    assert read["security_opt"] == ["no-new-privileges:true"]


def test_the_image_runs_as_nobody_and_installs_from_the_lock() -> None:
    steps = [line.split() for line in DOCKERFILE.splitlines() if line]
    froms = [index for index, step in enumerate(steps) if step[0] == "FROM"]
    assert len(froms) == 3
    assert [step for step in steps[froms[-1] :] if step[0] == "USER"] == [["USER", "bioscope"]]
    assert "RUN pip install --require-hashes --requirement requirements.lock" in DOCKERFILE
    assert all("-slim" in steps[index][1] for index in froms)


def test_the_image_is_given_all_that_it_copies() -> None:
    admitted = {
        line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"
    }
    copied = {
        source
        for line in DOCKERFILE.splitlines()
        if line.startswith("COPY") and "--from" not in line
        for source in shlex.split(line)[1:-1]
    }
    assert {name.partition("/")[0] for name in copied} == admitted
    assert [name for name in sorted(copied) if not (ROOT / name).exists()] == []


def test_the_image_holds_the_explorer_built_from_its_lock() -> None:
    """Where Vite puts it is what the second stage takes, before the wheel is made of it."""
    said = re.search(r"outDir: '(.+)'", (ROOT / "web" / "vite.config.js").read_text("utf-8"))
    assert said is not None
    built = Path(os.path.normpath(Path("/source/web", said[1])))
    lines = DOCKERFILE.splitlines()
    taken = lines.index(f"COPY --from=web {built} {built.relative_to('/source')}")
    assert lines.index("RUN npm ci --no-audit --no-fund") < lines.index("RUN npm run build") < taken
    assert [number for number, line in enumerate(lines) if line.startswith("RUN pip install --no-deps")] > [
        taken
    ]
    # None of it comes from the machine that builds the image.
    refused = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {f"{built.relative_to('/source')}", "**/node_modules"} <= set(refused)


def test_a_wheel_holds_the_explorer_once_it_is_built(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("bioscope_gql", "piccolo_migrations"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("static", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "piccolo_conf.py"):
        shutil.copy(ROOT / name, source)
    assets = source / "bioscope_gql" / "web" / "static" / "assets"
    assets.mkdir(parents=True)
    (assets / "index-1.js").write_text("export {}")
    (assets.parent / "index.html").write_text("<!doctype html>")

    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path)], check=True, cwd=source, timeout=100)

    [wheel] = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {"bioscope_gql/web/static/index.html", "bioscope_gql/web/static/assets/index-1.js"} <= held
    assert {"bioscope_gql/web/pages/start.html", "bioscope_gql/py.typed", "piccolo_conf.py"} <= held


def test_the_image_holds_the_migrations() -> None:
    tool = PYPROJECT["tool"]["setuptools"]
    assert "piccolo_migrations*" in tool["packages"]["find"]["include"]
    assert tool["py-modules"] == ["piccolo_conf"]


def test_the_lock_holds_the_build_backend() -> None:
    assert PYPROJECT["dependency-groups"]["build"] == PYPROJECT["build-system"]["requires"]


def locked(file: str) -> dict[str, set[str]]:
    """Name to versions; several where the interpreter decides."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / file).read_text("utf-8"), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", text) for text in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def test_the_locks_name_every_requirement() -> None:
    runtime = names(PYPROJECT["project"]["dependencies"] + PYPROJECT["build-system"]["requires"])
    development = names(PYPROJECT["dependency-groups"]["dev"])

    tracing = names(PYPROJECT["project"]["optional-dependencies"]["otel"])

    assert runtime - set(locked("requirements.lock")) == set()
    assert tracing - set(locked("requirements-otel.lock")) == set()
    assert tracing & set(locked("requirements.lock")) == set()
    assert development - set(locked("requirements-dev.lock")) == set()


def test_the_locks_agree() -> None:
    development = locked("requirements-dev.lock")
    assert {name: development.get(name) for name in locked("requirements.lock")} == locked(
        "requirements.lock"
    )


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-otel.lock", "requirements-dev.lock"])
def test_a_lock_holds_names_versions_and_hashes_and_no_hosts(file: str) -> None:
    line = re.compile(r"[a-z0-9-]+==\S+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    lines = (ROOT / file).read_text("utf-8").splitlines()
    assert [text for text in lines if not line.fullmatch(text)] == []


def test_the_machine_that_decides_asks_the_same_as_everybody() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "make test" in script.splitlines()[-1]
    assert subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=False, timeout=10).returncode == 0
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_what_runs_before_a_commit_is_a_target_of_the_makefile() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    (hook,) = config["repos"][0]["hooks"]
    make, target = hook["entry"].split()

    assert make == "make"
    assert target in targets
