"""The Kafka contract as an AsyncAPI 3.0 document, made from the messages themselves."""

from typing import Any

import yaml
from pydantic.json_schema import models_json_schema

from bioscope_gql.events.messages import (
    Announcement,
    Failed,
    Job,
    Message,
    Ok,
    SeedResult,
    Signal,
    Started,
    Topics,
)

_ITEM_KEY = "The item's id: what concerns one item stays in order."
_VERSION = "1.0.0"

_MESSAGES: dict[type[Message], str] = {
    Job: _ITEM_KEY,
    Started: _ITEM_KEY,
    Ok: _ITEM_KEY,
    Failed: _ITEM_KEY,
    SeedResult: "Anything.",
    Announcement: "The worker's name.",
    Signal: "The run's id.",
}

_INFO = """\
JSON in UTF-8, at most 256 KiB, uncompressed or gzip. Every message but those of version 0 has `v`. Unknown
fields are ignored; what cannot be read goes to the dead letters with a reason. Times are UTC, ISO 8601.

A worker reads the jobs with the consumer group `<model>@<version>`, from the earliest, passes over the jobs
of other models by their headers and over those whose deadline has passed (they come again), and commits a
job after its answer has arrived. The same job can come twice; the first answer counts.
"""

_CHANNELS: dict[str, tuple[str, str, tuple[type[Message], ...]]] = {
    "jobs": ("send", "Pictures to classify.", (Job,)),
    "results": ("receive", "What the workers answer.", (Started, Ok, Failed, SeedResult)),
    "workers": ("receive", "Who is there, with which models.", (Announcement,)),
    "signals": ("send", "Something changed; read by every replica, without a group.", (Signal,)),
}

_JOB_HEADERS = {
    "type": "object",
    "required": ["model", "model-version", "attempt"],
    "properties": {
        **{name: {"type": "string"} for name in ("model", "model-version", "attempt")},
        "traceparent": {
            "type": "string",
            "description": "W3C Trace Context, where the server keeps traces. Send it with the answers.",
        },
    },
}


class _Dumper(yaml.SafeDumper):
    """Long texts stay readable, and nothing is abbreviated by anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's own shape
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def document(topics: Topics | None = None) -> dict[str, Any]:
    """The AsyncAPI 3.0 document of all topics, as plain data. Without `topics` their default names."""
    topics = topics or Topics()
    channels = {name: _channel(topics, name) for name in _CHANNELS}
    channels["deadLetters"] = {
        "address": topics.dead_letters,
        "description": "Answers that could not be read or belong to nobody: the original bytes and key.",
        "messages": {"DeadLetter": {"$ref": "#/components/messages/DeadLetter"}},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "BioScope GQL",
            "version": _VERSION,
            "description": _INFO,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {**{name: _operation(name) for name in _CHANNELS}, "deadLetters": _dead_letters()},
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def render(topics: Topics | None = None) -> str:
    """The document as YAML; the same messages always give the same text."""
    return yaml.dump(document(topics), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _channel(topics: Topics, name: str) -> dict[str, Any]:
    address: str = getattr(topics, name)
    _, description, kinds = _CHANNELS[name]
    channel: dict[str, Any] = {
        "address": address,
        "description": description,
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in kinds},
    }
    if "{model}" in address:
        channel["parameters"] = {"model": {"description": "The model's name."}}
    return channel


def _operation(name: str) -> dict[str, Any]:
    action, description, _ = _CHANNELS[name]
    return {"action": action, "channel": {"$ref": f"#/channels/{name}"}, "summary": description}


def _dead_letters() -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": "#/channels/deadLetters"},
        "summary": "What could not be recorded, for people.",
    }


def _messages() -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for kind, key in _MESSAGES.items():
        messages[kind.__name__] = {
            "name": kind.__name__,
            "summary": " ".join((kind.__doc__ or "").split()),
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
            "bindings": {"kafka": {"key": {"type": "string", "description": key}}},
        }
    messages["Job"]["headers"] = _JOB_HEADERS
    messages["DeadLetter"] = {
        "name": "DeadLetter",
        "summary": "An answer as it came.",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }
    return messages


def _schemas() -> dict[str, Any]:
    # a job is written by us, so its schema shows all that we write; the others are what we accept
    inputs = [(kind, "serialization" if kind is Job else "validation") for kind in _MESSAGES]
    _, schema = models_json_schema(inputs, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas: dict[str, Any] = dict(sorted(schema["$defs"].items()))
    for fields in schemas.values():  # these have a default in our code, not on the wire
        constant = [name for name in ("v", "status", "kind") if "const" in fields["properties"].get(name, {})]
        if constant:
            fields["required"] = [*constant, *(name for name in fields["required"] if name not in constant)]
    return schemas
