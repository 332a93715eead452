"""OpenAPI 3.1, made from the route table and the msgspec types; inside `web`. Nothing in the document is by hand."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from quizcast import __version__, errors
from quizcast.errors import QuizcastError
from quizcast.web.bodies import JSON, MSGPACK
from quizcast.web.http import PROBLEM, Endpoint, Who, status_of
from quizcast.wire.api import ProblemDocument
from quizcast.wire.events import EVENTS

ALWAYS = (errors.InvalidInput, errors.MalformedBody, errors.BodyTooLarge, errors.UnsupportedMedia)
REF = "#/components/schemas/{name}"


def document(endpoints: Sequence[Endpoint], base: str) -> dict[str, Any]:
    """The whole document, as JSON-able values."""
    types = {
        _key(kind): kind for endpoint in endpoints for kind in (endpoint.body, endpoint.reply) if _has_schema(kind)
    }
    types |= {_key(kind): kind for kind in (ProblemDocument, *EVENTS)}
    schemas, components = msgspec.json.schema_components(list(types.values()), ref_template=REF)
    known = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(base + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, known)
    return {
        "openapi": "3.1.0",
        "info": {"title": "quizcast", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
        "x-events": {kind.name: known[_key(kind)] for kind in EVENTS},
    }


def _has_schema(kind: Any) -> bool:
    return kind is not None and kind is not bytes and kind is not str


def _key(kind: Any) -> str:
    return repr(kind)


def _operation(endpoint: Endpoint, known: dict[str, Any]) -> dict[str, Any]:
    name = endpoint.handler.__name__ if endpoint.handler else endpoint.path.rsplit("/", 1)[1]
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": endpoint.says,
        "parameters": _parameters(endpoint),
        "responses": {
            str(endpoint.status): _success(endpoint, known),
            **{str(status): {"description": says} for status, says in endpoint.others.items()},
            **_refusals(endpoint, known),
        },
    }
    if endpoint.who is not Who.ANYONE:
        schemes = ["bearer", "query"] if endpoint.who is Who.VIEWER else ["bearer"]
        operation["security"] = [{scheme: []} for scheme in schemes]
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": not endpoint.body_optional,
            "content": _content(endpoint.body, _body_types(endpoint), known),
        }
    return operation


def _body_types(endpoint: Endpoint) -> tuple[str, ...]:
    if endpoint.body is bytes:
        return endpoint.body_types
    return (JSON, MSGPACK) if endpoint.packed else (JSON,)


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in endpoint.path.split("/")
        if part.startswith("{")
    ]
    for query in endpoint.query:
        schema = msgspec.json.schema(query.type)
        found.append(
            {"name": query.name, "in": "query", "description": query.says, "required": query.required, "schema": schema}
        )
    if endpoint.idempotent:
        says = "a name for this request, drawn at random; a retry with the same name acts once"
        schema = {"type": "string", "maxLength": 200}
        found.append({"name": "Idempotency-Key", "in": "header", "description": says, "schema": schema})
    return found


def _success(endpoint: Endpoint, known: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.reply is not None:
        packed = (MSGPACK,) if endpoint.packed else ()
        response["content"] = _content(endpoint.reply, (*endpoint.media_types, *packed), known)
    return response


def _content(kind: Any, media_types: Sequence[str], known: dict[str, Any]) -> dict[str, Any]:
    structured = {"schema": known[_key(kind)]} if _has_schema(kind) else {}
    return {
        media.partition(";")[0]: structured if media in (JSON, MSGPACK) else {"schema": {"type": "string"}}
        for media in media_types
    }


def _refusals(endpoint: Endpoint, known: dict[str, Any]) -> dict[str, Any]:
    kinds: list[type[QuizcastError]] = [*endpoint.errors]
    if endpoint.who is not Who.ANYONE:
        kinds += [errors.NotAuthenticated, errors.TokenInvalid, errors.TokenExpired]
    if endpoint.body is not None:
        kinds += ALWAYS
    elif endpoint.query or endpoint.idempotent:
        kinds.append(errors.InvalidInput)
    by_status: dict[int, list[str]] = {}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(status_of(kind()), []).append(f"`{kind.code}` {kind.title()}")
    return {
        str(status): {
            "description": "; ".join(said),
            "content": {PROBLEM: {"schema": known[_key(ProblemDocument)]}},
        }
        for status, said in sorted(by_status.items())
    }
