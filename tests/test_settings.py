"""What can be set, where it may come from, and what is said about what does not fit."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from bioscope_gql.errors import ConfigurationError
from bioscope_gql.setting_example import example
from bioscope_gql.setting_sources import places, variable
from bioscope_gql.settings import App, Database, Limits, Settings

EXAMPLE = Path(__file__).parents[1] / "bioscope.example.yaml"

SERVING = {
    "BIOSCOPE_DATABASE__DSN": "postgresql://lab:hunter2@db.example/bioscope",
    "BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS": "kafka1:9092,kafka2:9092",
    "BIOSCOPE_S3__ENDPOINT": "http://minio:9000",
    "BIOSCOPE_S3__ACCESS_KEY": "lab",
    "BIOSCOPE_S3__SECRET_KEY": "swordfish",
    "BIOSCOPE_S3__BUCKET": "pictures",
    "BIOSCOPE_AUTH__KEYS": "/keys/new.pem,/keys/old.pem",
}


def a_file(folder: Path, text: str) -> Path:
    file = folder / "bioscope.yaml"
    file.write_text(text)
    return file


def problems(config: Path | None, environ: Mapping[str, str], command: str = "dev", **more: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(config, environ, command=command, **more)
    return list(caught.value.problems)


def test_the_example_file_is_what_the_code_says() -> None:
    assert EXAMPLE.read_text("utf-8") == example()


def test_the_example_file_as_it_stands_changes_nothing() -> None:
    assert Settings.load(EXAMPLE, {}, command="migrate") == Settings.load(None, {}, command="migrate")


def test_the_example_file_holds_every_setting_with_its_default(tmp_path: Path) -> None:
    uncommented = re.sub(r"^( *)#(?=\w+:)", r"\1", example(), flags=re.MULTILINE)
    written = yaml.safe_load(uncommented)

    assert set(leaves(written)) == set(places(Settings))
    assert Settings.load(a_file(tmp_path, uncommented), {}, command="dev") == Settings.load(
        None, {}, command="dev"
    )


def leaves(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name)


def test_the_default_limits_are_those_of_the_contract() -> None:
    limits = Limits()
    assert (limits.json_body_bytes, limits.upload_request_bytes) == (1_048_576, 2_684_354_560)
    assert (limits.upload_files, limits.file_bytes, limits.tiled_file_bytes) == (
        100,
        268_435_456,
        2_147_483_648,
    )
    assert (limits.pixels, limits.tiled_pixels, limits.frames) == (100_000_000, 1_000_000_000, 2000)
    assert (limits.decoded_bytes, limits.query_bytes, limits.query_tokens) == (1_073_741_824, 65_536, 2000)
    assert (limits.query_depth, limits.query_fields, limits.query_aliases) == (12, 500, 30)
    assert (limits.lease_seconds, limits.tries, limits.dead_letter_bytes) == (60, 3, 262_144)
    assert (limits.janitor_grace_days, limits.ids_per_mutation, limits.images_per_run) == (7, 500, 10_000)


def test_a_variable_wins_over_its_file_and_both_over_yaml(tmp_path: Path) -> None:
    config = a_file(tmp_path, "app: {metrics_token: from-yaml, port: 1, host: yaml.example}\n")
    secret = tmp_path / "secret"
    secret.write_text("from-file\n")
    environ = {"BIOSCOPE_APP__METRICS_TOKEN_FILE": str(secret), "BIOSCOPE_APP__PORT": "2"}

    settings = Settings.load(config, environ, command="dev")
    assert settings.app.metrics_token == SecretStr("from-file")
    assert (settings.app.port, settings.app.host) == (2, "yaml.example")

    settings = Settings.load(
        config, {**environ, "BIOSCOPE_APP__METRICS_TOKEN": "from-variable"}, command="dev"
    )
    assert settings.app.metrics_token == SecretStr("from-variable")


def test_the_command_line_wins_over_everything() -> None:
    environ = {"BIOSCOPE_APP__PORT": "2"}
    settings = Settings.load(None, environ, command="dev", overrides={"app.port": 3})
    assert settings.app.port == 3
    assert problems(None, environ, overrides={"app.port": -3}) == [
        "app.port (from --port) must be at least 0, not -3."
    ]


def test_a_variable_names_the_yaml_file(tmp_path: Path) -> None:
    config = a_file(tmp_path, "app: {port: 4711}\n")
    assert Settings.load(None, {"BIOSCOPE_CONFIG": str(config)}, command="dev").app.port == 4711


def test_a_setting_that_is_called_file_is_not_taken_for_a_secret_file() -> None:
    settings = Settings.load(None, {"BIOSCOPE_KAFKA__SECURITY__CA_FILE": "/etc/ca.pem"}, command="dev")
    assert settings.kafka.security.ca_file == Path("/etc/ca.pem")


def test_lists_and_sizes_are_read_as_people_write_them() -> None:
    environ = {
        "BIOSCOPE_APP__CORS_ORIGINS": "https://a.example, http://localhost:3000/",
        "BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS": '["k1:9092", "[::1]:9093"]',
        "BIOSCOPE_KAFKA__STATIC_MODELS": '[{"name": "old", "version": "0.9", "labels": "a,b"}]',
        "BIOSCOPE_LIMITS__FILE_BYTES": "1.5 MiB",
        "BIOSCOPE_APP__LOG_LEVEL": "DEBUG",
        "BIOSCOPE_APP__METRICS_TOKEN": "",
    }
    settings = Settings.load(None, environ, command="dev")

    assert settings.app.cors_origins == ("https://a.example", "http://localhost:3000")
    assert settings.kafka.bootstrap_servers == ("k1:9092", "[::1]:9093")
    assert settings.kafka.static_models[0].labels == ("a", "b")
    assert settings.kafka.static_models[0].content_types[0] == "image/jpeg"
    assert settings.limits.file_bytes == 1_572_864
    assert settings.app.log_level == "debug"
    assert settings.app.metrics_token is None


def test_all_problems_are_told_at_once_in_whole_sentences(tmp_path: Path) -> None:
    config = a_file(
        tmp_path,
        """
        app: {port: http, introspection: perhaps, log_level: loud, cors_origins: ["*"], prot: 1}
        databse: {dsn: x}
        database: {pool_min: 9, pool_max: 3, dsn: "mysql://root:hunter2@db"}
        kafka: {topics: {jobs: "a b", signals: bioscope.workers}, bootstrap_servers: kafka}
        limits: {file_bytes: huge, tries: 0, lease_seconds: 1.5}
        auth: nothing
        """,
    )
    environ = {
        "BIOSCOPE_S3__SECRETKEY": "x",
        "BIOSCOPE_APP_PORT": "9",
        "BIOSCOPE_WORKER__CLIENT_ID": "w",
        "BIOSCOPE_AUTH__ISSUER_FILE": "/nowhere",
    }
    where = f"(in {config})"

    assert sorted(problems(config, environ)) == sorted(
        [
            "BIOSCOPE_APP_PORT sets nothing: write BIOSCOPE_APP__PORT, with two underscores.",
            "BIOSCOPE_AUTH__ISSUER_FILE names /nowhere, which can't be read: No such file or directory. "
            "Correct the path or its rights.",
            f"app.cors_origins.0 {where} must name each origin, never *: the answers carry credentials.",
            f"app.introspection {where} must be true or false, not 'perhaps'.",
            f"app.log_level {where} must be 'debug', 'info', 'warning' or 'error', not 'loud'.",
            f"app.port {where} must be a whole number, not 'http'.",
            f"app.prot {where} is no setting: did you mean app.port?",
            f"auth {where} must have names and values under it, not one value.",
            f"database.dsn {where} must be an address like postgresql://user:password@host:5432/database.",
            "database.pool_min (9) must not exceed pool_max (3).",
            f"databse {where} is no setting: did you mean database?",
            f"kafka.bootstrap_servers.0 {where} must be host:port for every server, not 'kafka'.",
            f"kafka.topics.jobs {where} must be a topic's name: up to 249 letters, digits, dots, dashes "
            "or underscores.",
            "kafka.topics.workers and kafka.topics.signals are both bioscope.workers: each needs its own.",
            f"limits.file_bytes {where} must be a size like 256 MiB or a number of bytes, not 'huge'.",
            f"limits.lease_seconds {where} must be a whole number, not 1.5.",
            f"limits.tries {where} must be at least 1, not 0.",
            "s3.secretkey (from BIOSCOPE_S3__SECRETKEY) is no setting: did you mean s3.secret_key?",
            "worker.client_id and worker.client_secret belong together: set both or none.",
        ]
    )


def test_serve_tells_everything_that_it_lacks(tmp_path: Path) -> None:
    lacking = [sentence.split(" is missing: ")[0] for sentence in problems(None, {}, command="serve")]
    assert lacking == [
        "database.dsn",
        "kafka.bootstrap_servers",
        "s3.endpoint",
        "s3.access_key",
        "s3.secret_key",
        "s3.bucket",
        "auth.keys",
    ]

    on_disk = {name: value for name, value in SERVING.items() if "S3" not in name}
    (only,) = problems(None, {**on_disk, "BIOSCOPE_S3__DIRECTORY": str(tmp_path)}, command="serve")
    assert only.startswith(
        "app.public_url is missing: set it in bioscope.yaml or as BIOSCOPE_APP__PUBLIC_URL"
    )


def test_a_setting_that_is_wrong_is_not_told_as_missing_too() -> None:
    wrong = problems(None, {**SERVING, "BIOSCOPE_DATABASE__DSN": "db"}, command="serve")
    assert wrong == [
        "database.dsn (from BIOSCOPE_DATABASE__DSN) must be an address like "
        "postgresql://user:password@host:5432/database."
    ]


def test_registration_is_open_for_dev_and_closed_for_serve_unless_said() -> None:
    assert Settings.load(None, {}, command="demo").auth.registration == "open"
    assert Settings.load(None, SERVING, command="serve").auth.registration == "closed"
    said = {**SERVING, "BIOSCOPE_AUTH__REGISTRATION": "open"}
    assert Settings.load(None, said, command="serve").auth.registration == "open"


def test_a_command_requires_only_what_it_uses() -> None:
    settings = Settings.load(None, {}, command="migrate")
    with pytest.raises(ConfigurationError) as caught:
        settings.require("database")
    assert len(caught.value.problems) == 1
    assert "BIOSCOPE_DATABASE__DSN" in caught.value.problems[0]
    Settings.load(None, SERVING, command="migrate").require("database", "kafka", "store", "keys")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app: [", "is not YAML: line 1: "),
        ("app: {port: 1, port: 2}", "is not YAML: line 1: port stands there twice. Correct it there."),
        ("- app", "must have sections like app: and database:."),
        ("app: !!python/object:os.system {}", "is not YAML: line 1: "),
        ("[a, b]: 1", "is not YAML: line 1: "),
    ],
)
def test_a_file_that_is_no_settings_file_is_told_in_a_sentence(
    tmp_path: Path, text: str, expected: str
) -> None:
    (sentence,) = problems(a_file(tmp_path, text), {})
    assert expected in sentence


def test_a_settings_file_that_was_asked_for_and_is_absent_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    assert problems(file, {}) == [
        f"The settings file {file} can't be read: No such file or directory. Check --config."
    ]


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    settings = Settings.load(None, {**SERVING, "BIOSCOPE_APP__METRICS_TOKEN": "open-sesame"}, command="serve")
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    for secret in ("hunter2", "swordfish", "open-sesame"):
        assert secret not in shown

    config = a_file(tmp_path, "database: 'postgresql://lab:hunter2@db'\ns3: {secret_key: [swordfish]}\n")
    told = "\n".join(problems(config, {"BIOSCOPE_DATABASE__DSN": "hunter2"}))
    assert "hunter2" not in told
    assert "swordfish" not in told

    broken = "\n".join(problems(a_file(tmp_path, "s3: {secret_key: 'swordfish\n"), {}))
    assert "swordfish" not in broken


def test_settings_never_change() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.app = App()
    with pytest.raises(ValidationError):
        settings.app.port = 1


def test_settings_that_are_built_read_nothing_by_themselves() -> None:
    assert Settings(app=App(port=5), database=Database()).app.port == 5
    for place in places(Settings):
        assert re.fullmatch(r"BIOSCOPE_[A-Z0-9]+(__[A-Z0-9_]+)+", variable(place))


def test_the_embedded_stack_replaces_whatever_was_configured(tmp_path: Path) -> None:
    settings = Settings.load(None, {**SERVING, "BIOSCOPE_KAFKA__SECURITY__PROTOCOL": "ssl"}, command="dev")
    embedded = settings.embedded(
        dsn="postgresql:///bioscope?host=/run/pg", bootstrap_servers="127.0.0.1:4711", data_dir=tmp_path
    )

    assert embedded.database.dsn == SecretStr("postgresql:///bioscope?host=/run/pg")
    assert embedded.kafka.bootstrap_servers == ("127.0.0.1:4711",)
    assert embedded.kafka.security.protocol == "PLAINTEXT"
    assert (embedded.s3.directory, embedded.s3.endpoint) == (tmp_path / "files", None)
    assert embedded.auth.keys == (Path("/keys/new.pem"), Path("/keys/old.pem"))
    assert embedded.app.data_dir == tmp_path

    fresh = Settings.load(None, {}, command="dev")
    embedded = fresh.embedded(dsn="postgresql:///x", bootstrap_servers=["a:1"], data_dir=tmp_path)
    assert embedded.auth.keys == (tmp_path / "keys" / "signing.pem",)


def test_every_setting_says_what_it_is() -> None:
    def silent(model: type[BaseModel]) -> Iterator[str]:
        for name, info in model.model_fields.items():
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                yield from silent(info.annotation)
            elif not info.description:
                yield f"{model.__name__}.{name}"

    assert list(silent(Settings)) == []
