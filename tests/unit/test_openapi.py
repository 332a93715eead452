"""The OpenAPI document, made from the route table."""

from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from quizcast.web.app import BASE, ENDPOINTS
from quizcast.web.http import Endpoint, Who
from quizcast.web.openapi import document
from quizcast.wire.events import EVENTS

CONTRACT = {
    ("POST", "/auth/register"),
    ("POST", "/auth/login"),
    ("POST", "/auth/refresh"),
    ("POST", "/auth/logout"),
    ("GET", "/me"),
    ("GET", "/quizzes"),
    ("POST", "/quizzes"),
    ("GET", "/quizzes/{quiz_id}"),
    ("PUT", "/quizzes/{quiz_id}"),
    ("DELETE", "/quizzes/{quiz_id}"),
    ("POST", "/quizzes/import"),
    ("GET", "/quizzes/{quiz_id}/export"),
    ("POST", "/games"),
    ("GET", "/games"),
    ("GET", "/games/{game_id}"),
    ("POST", "/games/{game_id}/open"),
    ("POST", "/games/{game_id}/close"),
    ("POST", "/games/{game_id}/leaderboard"),
    ("POST", "/games/{game_id}/finish"),
    ("POST", "/games/{game_id}/lock"),
    ("GET", "/games/{game_id}/participants"),
    ("POST", "/games/{game_id}/screen"),
    ("DELETE", "/games/{game_id}/participants/{participant_id}"),
    ("GET", "/games/{game_id}/results"),
    ("POST", "/join"),
    ("POST", "/games/{game_id}/answers"),
    ("GET", "/games/{game_id}/state"),
    ("GET", "/games/{game_id}/events"),
}
EVENT_NAMES = {
    *("snapshot", "question", "closed", "result", "leaderboard", "finished"),
    *("lobby", "progress", "heartbeat", "kicked", "reset", "drain"),
}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """The document as clients get it."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document(ENDPOINTS, BASE)))
    return found


def test_the_document_is_valid(made: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(made).validate()


def test_every_call_of_the_contract_is_in_the_table_and_every_row_in_the_document(made: dict[str, Any]) -> None:
    table = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    assert table >= CONTRACT
    assert len(table) == len(ENDPOINTS)
    told = {(method.upper(), path.removeprefix(BASE)) for path, calls in made["paths"].items() for method in calls}
    assert told == table


def test_every_operation_has_a_name_of_its_own(made: dict[str, Any]) -> None:
    names = [call["operationId"] for calls in made["paths"].values() for call in calls.values()]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


def test_the_names_of_the_operations_stay(made: dict[str, Any]) -> None:
    # Generated clients have methods by these names: add to them, rename none.
    names = {call["operationId"] for calls in made["paths"].values() for call in calls.values()}
    assert names >= {
        *("register", "login", "refresh", "logout", "me"),
        *("list_quizzes", "create_quiz", "get_quiz", "put_quiz", "delete_quiz", "import_quizzes", "export_quiz"),
        *("create_game", "list_games", "get_game", "open_question", "close_question", "show_leaderboard"),
        *("finish_game", "lock_game", "list_participants", "remove_participant", "make_screen", "get_results"),
        *("join", "answers", "events", "state"),
        *("create_media", "list_media", "delete_media"),
    }


def test_every_event_of_the_contract_is_described(made: dict[str, Any]) -> None:
    assert set(made["x-events"]) == {event.name for event in EVENTS} >= EVENT_NAMES
    for name, schema in made["x-events"].items():
        assert schema["$ref"].removeprefix("#/components/schemas/") in made["components"]["schemas"], name


@pytest.mark.parametrize("endpoint", [pytest.param(one, id=f"{one.method} {one.path}") for one in ENDPOINTS])
def test_a_row_says_what_it_takes_gives_and_refuses(made: dict[str, Any], endpoint: Endpoint) -> None:
    call = made["paths"][BASE + endpoint.path][endpoint.method.lower()]
    assert str(endpoint.status) in call["responses"]
    assert ("security" in call) == (endpoint.who is not Who.ANYONE)
    if endpoint.who is not Who.ANYONE:
        assert "401" in call["responses"]
    assert ("requestBody" in call) == (endpoint.body is not None)
    for name in ("game_id", "quiz_id", "participant_id"):
        in_path = [one for one in call["parameters"] if one["name"] == name and one["in"] == "path"]
        assert len(in_path) == endpoint.path.count(f"{{{name}}}")
    for status, response in call["responses"].items():
        if int(status) >= 400:
            assert list(response["content"]) == ["application/problem+json"]
