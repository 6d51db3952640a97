"""The topics, made where they are absent: made by the broker itself they would get one partition."""

from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError

from bioscope_gql.events.messages import Topics
from bioscope_gql.settings import Kafka

ALREADY_THERE = 36
BROKERS_DEFAULT = -1
USUAL_COPIES = 3
HOURS = 3_600_000
DAYS = 24 * HOURS
RETENTION_MS = {
    "jobs": 7 * DAYS,
    "results": 7 * DAYS,
    "dead_letters": 28 * DAYS,
    "workers": HOURS,
    "signals": HOURS,
}
"""How long each kind of message is kept; a signal is worth nothing after minutes."""

logger = structlog.get_logger()


def names(settings: Kafka) -> Topics:
    return Topics(**settings.topics.model_dump())


async def create_topics(settings: Kafka, security: dict[str, Any]) -> None:
    """Make what is absent. What the broker refuses is logged: somebody else may have to make it.

    Raises:
        KafkaError: the broker does not answer.
    """
    admin = AIOKafkaAdminClient(
        bootstrap_servers=list(settings.bootstrap_servers), request_timeout_ms=10_000, **security
    )
    try:
        await admin.start()
        try:
            copies = settings.topic_replication_factor
            if copies == BROKERS_DEFAULT:
                copies = await _default_copies(admin)
            answer = await admin.create_topics(_wanted(settings, copies))
        except AttributeError as error:  # aiokafka's way of saying that no controller is elected
            raise KafkaConnectionError("Kafka has no controller yet") from error
        for topic, code, *more in answer.topic_errors:
            if code not in (0, ALREADY_THERE):
                logger.warning("topic_not_created", topic=topic, code=code, reason=more[0] if more else None)
    finally:
        await admin.close()


async def _default_copies(admin: AIOKafkaAdminClient) -> int:
    """What a broker makes by default; the requests that aiokafka speaks are too old to leave it open."""
    brokers = [broker["node_id"] for broker in (await admin.describe_cluster())["brokers"]]
    if not brokers:
        raise KafkaConnectionError("Kafka has no broker yet")
    setting = ConfigResource(
        ConfigResourceType.BROKER, str(brokers[0]), configs={"default.replication.factor": None}
    )
    (answer,) = await admin.describe_configs([setting])
    ((code, reason, _, _, entries),) = answer.resources
    if entries:
        return int(entries[0][1])
    copies = min(USUAL_COPIES, len(brokers))
    logger.warning("default_copies_unknown", code=code, reason=reason, copies=copies)
    return copies


def partitions(settings: Kafka) -> dict[str, int]:
    """Every topic of a fixed name with its partitions; those of single models come when they are known."""
    named = settings.topics.model_dump()
    return {topic: settings.topic_partitions for topic in named.values() if "{model}" not in topic}


def _wanted(settings: Kafka, copies: int) -> list[NewTopic]:
    retention = {topic: RETENTION_MS[kind] for kind, topic in settings.topics.model_dump().items()}
    return [
        NewTopic(
            name=topic,
            num_partitions=count,
            replication_factor=copies,
            topic_configs={"retention.ms": str(retention[topic])},
        )
        for topic, count in partitions(settings).items()
    ]
