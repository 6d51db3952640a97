"""Everything that can be set, with its default and its meaning; read once at the start and passed on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from bioscope_gql import setting_rules, setting_sources
from bioscope_gql.errors import ConfigurationError
from bioscope_gql.setting_values import (
    Address,
    Bytes,
    Count,
    Dsn,
    JobsTopic,
    JsonList,
    Lower,
    ModelName,
    Origins,
    Paths,
    Seconds,
    Secret,
    Servers,
    Text,
    Texts,
    Topic,
    Upper,
)
from bioscope_gql.vocabulary import CONTENT_TYPES


class Section(BaseModel):
    """Settings that belong together. Unknown names are refused, values never change."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        validate_default=True,
    )


class App(Section):
    """The server itself."""

    host: Text = "127.0.0.1"
    """Address to listen on; 0.0.0.0 means all of them."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 takes a free one."""
    data_dir: Path = Path(".bioscope")
    """Where `demo` and `dev` keep their database, pictures and keys."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lower] = "info"
    """The least important lines that are written: debug, info, warning or error."""
    log_format: Annotated[Literal["console", "json"] | None, Lower] = None
    """console for people, json for machines; left out: console on a terminal, json elsewhere."""
    cors_origins: Origins = ()
    """Web pages of other origins that may call with the user's cookie, e.g. [https://lab.example]."""
    public_url: Address | None = None
    """The address at which people reach this server; required by `serve` with the disk store."""
    metrics_token: Secret | None = None
    """Whoever brings it may read /metrics; left out: loopback only."""
    traces_endpoint: Address | None = None
    """Where traces go, by OTLP over HTTP, e.g. http://collector:4318; needs bioscope-gql[otel].
    OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES and OTEL_TRACES_SAMPLER count too. Left out: none."""
    introspection: bool = True
    """Whether clients may ask for the schema."""
    trusted_proxies: Annotated[int, Field(ge=0, le=16)] = 0
    """How many proxies of your own stand in front; only then are their X-Forwarded-* headers believed."""
    default_model: ModelName | None = None
    """The model of a run that names none."""


class Database(Section):
    """PostgreSQL, 18 or newer."""

    dsn: Dsn | None = None
    """postgresql://user:password@host:5432/database; required by `serve`."""
    pool_min: Annotated[int, Field(ge=0)] = 2
    """Connections kept open by each process."""
    pool_max: Count = 10
    """Connections at most of each process."""
    statement_timeout_ms: Count = 5000
    """After how many milliseconds a statement is given up; bulk statements set their own."""


class KafkaSecurity(Section):
    """How Kafka knows us, and we Kafka."""

    protocol: Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Upper] = "PLAINTEXT"
    """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    mechanism: Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Upper] = "SCRAM-SHA-512"
    """With SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
    username: Text | None = None
    """With SASL."""
    password: Secret | None = None
    """With SASL."""
    ca_file: Path | None = None
    """With TLS: the authorities that the broker's certificate is checked against; left out: the system's."""
    cert_file: Path | None = None
    """With TLS: our own certificate, where the broker asks for one."""
    key_file: Path | None = None
    """With TLS: the key of cert_file."""


class KafkaTopics(Section):
    """The topics' names."""

    jobs: JobsTopic = "bioscope.classification.jobs"
    """Work for the classifiers; with {model} in it each model has a topic of its own."""
    results: Topic = "bioscope.classification.results"
    """What the classifiers answer."""
    dead_letters: Topic = "bioscope.classification.results.dlq"
    """Answers that could not be understood."""
    workers: Topic = "bioscope.workers"
    """Who is there, with which models."""
    signals: Topic = "bioscope.signals"
    """That something changed, from replica to replica."""


class StaticModel(Section):
    """A model whose classifier never announces itself."""

    name: ModelName
    version: ModelName
    description: str = ""
    labels: Texts = ()
    content_types: Texts = CONTENT_TYPES


class Kafka(Section):
    """Apache Kafka, or what speaks its protocol."""

    bootstrap_servers: Servers = ()
    """host:port of some brokers, e.g. [kafka1:9092, kafka2:9092]; required by `serve`."""
    security: KafkaSecurity = KafkaSecurity()
    topics: KafkaTopics = KafkaTopics()
    consumer_group: Text = "bioscope"
    """The group in which all replicas share the results."""
    create_topics: bool = True
    """Whether topics that are absent are made at the start."""
    topic_partitions: Annotated[int, Field(ge=1, le=1000)] = 6
    """Partitions of a topic that is made."""
    topic_replication_factor: Annotated[int, Field(ge=-1, le=100)] = -1
    """Copies of a topic that is made; -1: what the brokers do by default."""
    static_models: Annotated[tuple[StaticModel, ...], JsonList] = ()
    """Models whose classifiers never announce themselves: a list of name, version, labels, content_types."""


class S3(Section):
    """Where the pictures lie: an S3-compatible store, or a folder."""

    endpoint: Address | None = None
    """The store's address, e.g. http://minio:9000; required by `serve` unless there is a directory."""
    public_endpoint: Address | None = None
    """The store's address for people's browsers; left out: endpoint."""
    region: Text = "us-east-1"
    """The store's region."""
    access_key: Text | None = None
    """The name of the store's account; required with endpoint."""
    secret_key: Secret | None = None
    """Its secret; required with endpoint."""
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None = None
    """The bucket that holds the pictures; required with endpoint."""
    create_bucket: bool = True
    """Whether a bucket that is absent is made at the start."""
    worker_endpoint: Address | None = None
    """The store's address for workers; left out: endpoint."""
    worker_links: bool = True
    """Whether jobs carry links; if not, workers fetch pictures from this server, signed in."""
    directory: Path | None = None
    """A folder to use instead of an S3 store."""


class Auth(Section):
    """Who is asking."""

    keys: Paths = ()
    """PEM files (EC P-256, or RSA from 2048 bit); the first signs, all verify; required by `serve`."""
    issuer: Text = "bioscope"
    """Who issues access tokens (iss)."""
    audience: Text = "bioscope"
    """Whom access tokens are for (aud)."""
    access_minutes: Annotated[int, Field(ge=1, le=1440)] = 15
    """How long an access token lives."""
    refresh_days: Annotated[int, Field(ge=1, le=365)] = 30
    """How long a session lives without being refreshed."""
    session_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """How long a session lives at most, however often it is refreshed."""
    refresh_grace_seconds: Annotated[int, Field(ge=0, le=300)] = 10
    """How long the refresh token that was just replaced is accepted again; 0 is strict."""
    registration: Annotated[Literal["open", "closed"] | None, Lower] = None
    """open or closed: may people register themselves; left out: open for `demo` and `dev`, else closed."""


class Worker(Section):
    """The reference worker, and every program made with the SDK."""

    api_url: Address | None = None
    """This server's address for workers, where jobs carry no links; left out: app.public_url."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Pictures at the same time; left out: 1 for the reference worker, else as many as there are cores."""
    development: bool = False
    """Whether the broker is the embedded one."""
    client_id: Text | None = None
    """Its service account, where jobs carry no links."""
    client_secret: Secret | None = None
    """The secret of that account."""


class Limits(Section):
    """What one caller, file or message may ask of the system."""

    concurrent_requests: Count = 200
    """GraphQL requests that one replica works on at once; more are answered with 503."""
    json_body_bytes: Bytes = 1 << 20
    """A request that is not an upload."""
    upload_request_bytes: Bytes = 5 << 29
    """All files of an upload together."""
    upload_files: Count = 100
    """Files in an upload."""
    file_bytes: Bytes = 256 << 20
    """One file."""
    tiled_file_bytes: Bytes = 2 << 30
    """One file that is a tiled TIFF."""
    pixels: Count = 100_000_000
    """Pixels of a picture."""
    tiled_pixels: Count = 1_000_000_000
    """Pixels of a tiled TIFF, which is decoded tile by tile."""
    frames: Count = 2000
    """Frames or pages of a picture."""
    decoded_bytes: Bytes = 1 << 30
    """A picture once it is decoded."""
    intake_seconds: Seconds = 30
    """Time that reading one picture may take."""
    intake_processes: Annotated[int, Field(ge=1, le=64)] = 2
    """Processes that read uploaded pictures."""
    query_bytes: Bytes = 64 << 10
    """The text of a GraphQL operation."""
    query_tokens: Count = 2000
    """Its tokens."""
    query_depth: Count = 12
    """Its depth."""
    query_fields: Count = 500
    """Its fields, fragments counted wherever they are spread."""
    query_aliases: Count = 30
    """Its aliases."""
    query_cost: Count = 50_000
    """Objects that it may bring at most, by what it asks and `first` of its lists."""
    query_seconds: Seconds = 20
    """Time that a query may take."""
    ids_per_mutation: Count = 500
    """Ids that one mutation takes."""
    images_per_run: Count = 10_000
    """Ids of pictures that one run takes."""
    lease_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    """How long a worker may be silent about a picture before somebody else gets it."""
    tries: Annotated[int, Field(ge=1, le=100)] = 3
    """How often a picture is tried before it counts as stalled."""
    dead_letter_bytes: Bytes = 256 << 10
    """What is kept of a message that could not be understood."""
    janitor_grace_days: Annotated[int, Field(ge=0, le=3650)] = 7
    """How long files that nothing refers to are kept, so that last night's backup can be restored."""
    password_min_length: Annotated[int, Field(ge=8, le=128)] = 8
    """Characters of a new password at least."""
    password_max_length: Annotated[int, Field(ge=64, le=4096)] = 1024
    """Characters of a password at most."""
    password_hashes: Annotated[int, Field(ge=1, le=64)] = 2
    """Passwords that are hashed at the same time; each takes 64 MiB and most of a core."""
    logins_per_account: Count = 20
    """Attempts to sign in to one account within five minutes, from wherever."""
    logins_per_address: Count = 200
    """Attempts to sign in from one address (of IPv6: from one /64) within five minutes."""
    registrations_per_hour: Count = 100
    """Registrations from one address within an hour."""
    uploads_per_minute: Count = 600
    """Upload requests of one account within a minute."""
    runs_per_minute: Count = 120
    """Runs that one account starts within a minute."""
    connections_per_account: Count = 100
    """Sockets and event streams that one account has open at one replica."""
    operations_per_account: Count = 500
    """Operations at once on all of these sockets together."""
    messages_per_socket: Count = 6000
    """Messages that one socket sends within a minute."""
    bytes_per_socket: Bytes = 64 << 20
    """Their bytes."""
    messages_per_account: Count = 30_000
    """Messages that all sockets of one account send to one replica within a minute."""
    bytes_per_account: Bytes = 256 << 20
    """Their bytes."""


class Settings(BaseSettings):
    """All sections. `load` reads them; built directly, it takes only what it is given."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    app: App = App()
    database: Database = Database()
    kafka: Kafka = Kafka()
    s3: S3 = S3()
    auth: Auth = Auth()
    worker: Worker = Worker()
    limits: Limits = Limits()

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing is read behind the caller's back: `load` brings the sources."""
        return (init_settings,)

    @classmethod
    def load(
        cls,
        config: Path | None,
        environ: Mapping[str, str],
        *,
        command: str = "serve",
        overrides: Mapping[str, object] | None = None,
    ) -> Self:
        """Read the settings for one command.

        A value comes from the first that has it: `overrides` (dotted names, from the command line),
        BIOSCOPE_<SECTION>__<NAME>, the file that BIOSCOPE_<SECTION>__<NAME>_FILE names, the YAML file
        (`config`, else BIOSCOPE_CONFIG, else bioscope.yaml where it exists), the default.

        Raises:
            ConfigurationError: with one sentence for each problem, all of them at once.
        """
        found = setting_sources.gather(cls, config, environ, overrides or {})
        settings, wrong = setting_sources.build(cls, found)
        problems = [*found.problems, *wrong.values()]
        problems += setting_rules.contradictions(settings, ignored=wrong.keys())
        if command == "serve":
            problems += setting_rules.missing(settings, setting_rules.SERVE, ignored=wrong.keys())
        if problems:
            raise ConfigurationError(problems)
        if settings.auth.registration is None:
            registration = "open" if command in ("demo", "dev") else "closed"
            auth = settings.auth.model_copy(update={"registration": registration})
            return settings.model_copy(update={"auth": auth})
        return settings

    def require(self, *needs: setting_rules.Need) -> None:
        """For commands that can't do without the database, Kafka, ...

        Raises:
            ConfigurationError: something that one of `needs` asks for is not set.
        """
        if problems := setting_rules.missing(self, needs):
            raise ConfigurationError(problems)

    def embedded(self, *, dsn: str, bootstrap_servers: str | Sequence[str], data_dir: Path) -> Self:
        """These settings for the embedded stack: its database, Kafka with all topics, disk store, keys.

        The keys' file need not exist yet: `auth.keys.generate` makes it.
        """
        servers = bootstrap_servers.split(",") if isinstance(bootstrap_servers, str) else bootstrap_servers
        kafka = {"bootstrap_servers": tuple(servers), "security": KafkaSecurity(), "create_topics": False}
        return self._with(
            app=self.app.model_copy(update={"data_dir": data_dir}),
            database=Database.model_validate({**self.database.model_dump(), "dsn": dsn}),
            kafka=self.kafka.model_copy(update={**kafka, "topic_replication_factor": 1}),
            s3=S3(directory=data_dir / "files"),
            auth=self.auth.model_copy(
                update={
                    "keys": self.auth.keys or (data_dir / "keys" / "signing.pem",),
                    "registration": self.auth.registration or "open",
                }
            ),
        )

    def at(self, url: str) -> Self:
        """These settings for a server that is reached at `url`, unless they say where it is reached."""
        return self._with(app=self.app.model_copy(update={"public_url": self.app.public_url or url}))

    def _with(self, **sections: Section) -> Self:
        return self.model_copy(update=sections)
