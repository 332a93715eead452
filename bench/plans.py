"""The plans of every named query on millions of answers: `python -m bench.plans --answers 10000000 --write`.

It loads a database of its own with a year of games, runs each query of `store/sql/` there under EXPLAIN (ANALYZE,
BUFFERS), and tells which tables were read from end to end and which indexes nobody needed.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import Connection

from quizcast.embedded import Services
from quizcast.ids import first_id
from quizcast.settings import Settings
from quizcast.store.months import prepare
from quizcast.store.schema import migrate
from quizcast.store.shipped import query

QUESTIONS = 20
PEOPLE = 100
GAMES_PER_HOST = 25
MONTHS = 12
MONTH_MS = 30 * 86_400_000
PAGE = 51  # fifty, and one that says whether there are more
DOCS = Path(__file__).parents[1] / "docs" / "database.md"
BEGIN, END = "<!-- plans -->\n", "<!-- end of plans -->"

# What is no query of a game's or a host's: one runs in a moment on tables of a few rows, or is not one that has a plan.
NOT_PLANNED = frozenset({"copy_answers", "lock_schema", "lock_rest", "limit_lock_wait", "create_schema_migrations"})

LOAD = (
    # The form of `ids`: nine characters of time, and what is random as hexadecimal digits, which are among the letters.
    """CREATE FUNCTION pg_temp.id_at(ms bigint, salt text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> (5 * place)) & 31)::int + 1, 1), ''
                    ORDER BY place DESC) || left(md5(salt), 16) FROM generate_series(0, 8) AS place $$""",
    """INSERT INTO hosts (id, email, name, password_hash)
  SELECT pg_temp.id_at({began}, 'h' || n), 'host' || n || '@example.org', 'Host ' || n, 'x'
  FROM generate_series(0, {hosts}) n""",
    """INSERT INTO logins (family, host_id, digest, expires_at)
  SELECT md5(n || id), id, 'x', now() + interval '9 days' FROM hosts, generate_series(1, 3) n""",
    """INSERT INTO quizzes (id, host_id, title, description, language, questions, question_count)
  SELECT pg_temp.id_at({began} + n, 'q' || n || id), id, 'A quiz', '', 'en', '[]', {questions}
  FROM hosts, generate_series(1, 10) n""",
    """INSERT INTO media (id, host_id, digest, content_type, bytes, content)
  SELECT pg_temp.id_at({began} + n, 'm' || n || id), id, decode(md5(n::text), 'hex'), 'image/png', 2000, '\\x00'
  FROM hosts, generate_series(1, 5) n""",
    # Every fifth game is of one host, a large school.
    """CREATE TEMP TABLE played AS
  SELECT n, pg_temp.id_at({began} + n * {step}::bigint, 'g' || n) AS id, {began} + n * {step}::bigint AS at,
         (SELECT id FROM hosts
          WHERE email = 'host' || CASE WHEN n % 5 = 0 THEN 0 ELSE n / {per_host} END || '@example.org') AS host_id,
         CASE WHEN n % 50 = 0 THEN {hall} ELSE {people} END AS people
  FROM generate_series(0, {games} - 1) n""",
    """INSERT INTO games (id, host_id, quiz_id, pin, title, quiz, question_count, options, phase, phase_at, created_at,
                   finished_at, idempotency_key)
  SELECT id, host_id, (SELECT id FROM quizzes WHERE quizzes.host_id = played.host_id LIMIT 1), '123456', 'A quiz',
         '{{}}', {questions}, '{{}}', 'finished', at, at, at, md5(id) FROM played""",
    """INSERT INTO openings SELECT id, q, at, at + 20000, '{{}}' FROM played, generate_series(0, {questions} - 1) q""",
    """INSERT INTO participants (game_id, id, nickname, number, joined_at)
  SELECT id, left(md5(p || id), 25), 'Somebody ' || p, p, at FROM played, generate_series(1, people) p""",
    # Without the foreign keys' triggers: each of ten million would look up a game that is there.
    "SET session_replication_role = replica",
    """INSERT INTO answers (game_id, question, participant_id, answer, received_at)
  SELECT played.id, q, p.id, to_json(q % 4), at + q * 30000 + p.number
  FROM played JOIN participants p ON p.game_id = played.id, generate_series(0, {questions} - 1) q""",
    "SET session_replication_role = origin",
    "VACUUM ANALYZE",
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a query did: ms, pages it touched, tables read from end to end, indexes it used, the plan in words."""

    name: str
    ms: float
    pages: int
    whole: frozenset[str]
    indexes: frozenset[str]
    text: str


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """All plans; each index with its bytes that no query used; how the tables are."""

    plans: dict[str, Plan]
    unused: dict[str, int]
    tables: list[tuple[str, int, int, int]]  # name, rows, bytes of the table, bytes of its indexes
    load_s: float


def measure(database_url: str, answers: int, people: int = PEOPLE) -> Findings:
    """Load an empty database with games of so many people, ten times as many in every fiftieth; explain every query."""
    asyncio.run(migrate(database_url))
    began = time.monotonic()
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as conn:
        _by_month(conn)
        _load(conn, answers, people)
        load_s = time.monotonic() - began
    asyncio.run(prepare(database_url))
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as conn:
        plans = {name: _plan(conn, name, params) for name, params in _params(conn).items()}
        used = frozenset[str]().union(*(plan.indexes for plan in plans.values()))
        sizes = conn.execute(
            "SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes"
            " WHERE schemaname = 'public' AND relname NOT LIKE 'answers_%' ORDER BY 1"
        ).fetchall()
        tables = conn.execute(
            "SELECT regexp_replace(relname, '^answers_.*', 'answers'), sum(reltuples)::bigint,"
            " sum(pg_table_size(oid))::bigint, sum(pg_indexes_size(oid))::bigint FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            " AND relname NOT IN ('schema_migrations', 'answers_dropped') GROUP BY 1 ORDER BY 3 DESC"
        ).fetchall()
    return Findings(
        plans=plans, unused={name: size for name, size in sizes if name not in used}, tables=tables, load_s=load_s
    )


def _began() -> int:
    return (int(time.time() * 1000) // MONTH_MS - MONTHS + 1) * MONTH_MS


def _by_month(conn: Connection[Any]) -> None:
    """A year of parts before the first one, as an installation has that is a year old."""
    row = conn.execute("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'answers_first'").fetchone()
    last = str(row[0]).split("'")[1] if row else ""
    bounds = [first_id(_began() + month * MONTH_MS) for month in range(MONTHS)]
    conn.execute("ALTER TABLE answers DETACH PARTITION answers_first")
    conn.execute(
        f"ALTER TABLE answers ATTACH PARTITION answers_first FOR VALUES FROM (MINVALUE) TO ('{bounds[0]}')".encode()
    )
    for place, (since, until) in enumerate(zip(bounds, [*bounds[1:], last], strict=True)):
        conn.execute(
            f"CREATE TABLE answers_{place:02} PARTITION OF answers FOR VALUES FROM ('{since}') TO ('{until}')".encode()
        )


def _load(conn: Connection[Any], answers: int, people: int) -> None:
    games = max(50, answers // (QUESTIONS * people * 59 // 50))  # with the halls there are so many on average
    numbers = {
        "began": _began(),
        "step": MONTHS * MONTH_MS // games,
        "games": games,
        "hosts": games // GAMES_PER_HOST + 1,
        "per_host": GAMES_PER_HOST,
        "people": people,
        "hall": 10 * people,
        "questions": QUESTIONS,
    }
    for statement in LOAD:
        conn.execute(statement.format(**numbers).encode() if "{" in statement else statement.encode())


def _params(conn: Connection[Any]) -> dict[str, Mapping[str, Any]]:
    """For every query what it is asked as a rule: of the large school's, and of a hall's game."""
    host_id, email = _row(conn, "SELECT id, email FROM hosts WHERE email = 'host0@example.org'")
    (hall,) = _row(conn, "SELECT game_id FROM participants GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")
    newest_game = "SELECT id, quiz_id, idempotency_key FROM games WHERE host_id = %s ORDER BY id DESC LIMIT 1"
    game_id, quiz_id, key = _row(conn, newest_game, host_id)
    (person,) = _row(conn, "SELECT id FROM participants WHERE game_id = %s LIMIT 1", hall)
    (family,) = _row(conn, "SELECT family FROM logins WHERE host_id = %s LIMIT 1", host_id)
    (media_id,) = _row(conn, "SELECT id FROM media WHERE host_id = %s LIMIT 1", host_id)
    newest = [
        row[0]
        for row in conn.execute("SELECT id FROM games WHERE host_id = %s ORDER BY id DESC LIMIT %s", (host_id, PAGE))
    ]
    page = {"host_id": host_id, "before": None, "most": PAGE}
    quiz = {"title": "New", "description": "", "language": "en", "questions": "[]", "question_count": 0}
    batch = json.dumps([[hall, 0, f"new{place}", 1, "true"] for place in range(1000)])
    return {
        "insert_host": {"id": "new", "email": "new@example.org", "name": "New", "password_hash": "x"},
        "host_by_email": {"email": email},
        "host_by_id": {"id": host_id},
        "update_password": {"id": host_id, "password_hash": "y"},
        "insert_login": {"family": "new", "host_id": host_id, "digest": b"x", "life_s": 60},
        "rotate_login": {"family": family, "spent": b"x", "fresh": b"y", "life_s": 60, "grace_s": 1},
        "delete_login": {"family": family},
        "insert_quiz": quiz | {"id": "new", "host_id": host_id, "idempotency_key": "new"},
        "quiz_by_key": {"host_id": host_id, "idempotency_key": "none"},
        "quiz_by_id": {"host_id": host_id, "id": quiz_id},
        "quizzes_page": page,
        "update_quiz": quiz | {"id": quiz_id, "host_id": host_id, "expected": 1},
        "delete_quiz": {"id": quiz_id, "host_id": host_id},
        "lock_host": {"host_id": host_id},
        "media_by_digest": {"host_id": host_id, "digest": b"none"},
        "media_bytes": {"host_id": host_id},
        "insert_media": {
            "id": "new",
            "host_id": host_id,
            "digest": b"new",
            "content_type": "",
            "bytes": 1,
            "content": b"",
        },
        "media_page": page,
        "media_content": {"id": media_id},
        "delete_media": {"id": media_id, "host_id": host_id},
        "connections": {},
        "probe_server": {},
        "log_end": {},
        "insert_game": quiz
        | {"id": "new", "host_id": host_id, "quiz_id": quiz_id, "pin": "1", "quiz": "{}", "options": "{}"}
        | {"phase": "lobby", "created_at": 1, "idempotency_key": "new"},
        "game_by_key": {"host_id": host_id, "idempotency_key": key},
        "games_by_id": {"ids": newest},
        "games_page": page,
        "quiz_of_game": {"id": hall},
        "participants_of_game": {"game_id": hall},
        "answers_of_game": {"game_id": hall},
        "store_openings": {"rows": json.dumps([[hall, 99, 1, 2, "{0}"]])},
        "store_joins": {"rows": json.dumps([[hall, f"new{place}", "New", 1, 1] for place in range(200)])},
        "store_removals": {"rows": json.dumps([[hall, person, 1]])},
        "store_answers": {"rows": batch},
        "store_phases": {"rows": json.dumps([[game_id, "finished", 1]])},
        "games_there": {"ids": newest},
        "migration_checksum": {"name": "0001_start"},
        "insert_migration": {"name": "new", "checksum": "x"},
        "migration_names": {},
        "parts": {},
        "rest_of_answers": {},
        "insert_dropped": {"name": "new", "since": None, "until": "x"},
        "parts_detached": {},
        "update_dropped": {"part": "none", "rows": 1, "export": ""},
    }


def _row(conn: Connection[Any], question: str, *params: object) -> Any:
    row = conn.execute(question.encode(), params).fetchone()
    if row is None:
        raise LookupError(question)
    return row


def _plan(conn: Connection[Any], name: str, params: Mapping[str, Any]) -> Plan:
    def explained(form: str) -> Any:
        with conn.transaction(force_rollback=True):
            rows = conn.execute(f"EXPLAIN (ANALYZE, BUFFERS, {form}) ".encode() + query(name), params).fetchall()
        return rows

    explained("FORMAT JSON")  # the first time finds cold caches
    told = explained("FORMAT JSON")[0][0][0]
    nodes = list(_nodes(told["Plan"]))
    triggers = [one for one in told.get("Triggers", []) if one.get("Constraint Name")]
    return Plan(
        name=name,
        ms=told["Execution Time"] + told["Planning Time"],
        pages=told["Plan"].get("Shared Hit Blocks", 0) + told["Plan"].get("Shared Read Blocks", 0),
        whole=frozenset(str(node["Relation Name"]) for node in nodes if node["Node Type"] == "Seq Scan"),
        indexes=frozenset(str(node["Index Name"]) for node in nodes if "Index Name" in node)
        | frozenset(str(index) for node in nodes for index in node.get("Conflict Arbiter Indexes", ()))
        | frozenset({"games_of_quiz"} & {f"games_of_{one['Constraint Name'].split('_')[1]}" for one in triggers}),
        text="\n".join(row[0] for row in explained("SUMMARY ON")),
    )


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def tables(found: Findings) -> str:
    """The part of docs/database.md that is measured."""
    lines = ["| table | rows | MB | indexes, MB |", "|---|--:|--:|--:|"]
    lines += [
        f"| `{name}` | {max(rows, 0):,} | {size / 1e6:,.1f} | {more / 1e6:,.1f} |"
        for name, rows, size, more in found.tables
    ]
    lines += ["", "| query | ms | pages | by | read from end to end |", "|---|--:|--:|---|---|"]
    for plan in sorted(found.plans.values(), key=lambda plan: -plan.ms):
        by, whole = (", ".join(f"`{name}`" for name in sorted(names)) for names in (plan.indexes, plan.whole))
        lines.append(f"| `{plan.name}` | {plan.ms:.2f} | {plan.pages:,} | {by} | {whole} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.plans", description=__doc__)
    parser.add_argument("--answers", type=int, default=10_000_000)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/database.md")
    parser.add_argument("--show", default="", help="print the plans of these queries, by commas; `all`")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Services.start(Settings(data_dir=Path(folder) / "d"), durable=False) as services,
    ):
        found = measure(services.database_url, chosen.answers)
    for name in found.plans if chosen.show == "all" else filter(None, chosen.show.split(",")):
        print(f"── {name}\n{found.plans[name].text}\n")
    print(tables(found))
    print("loaded in", round(found.load_s), "s; no query used", found.unused)
    if chosen.write:
        before, _, rest = DOCS.read_text("utf-8").partition(BEGIN)
        DOCS.write_text(before + BEGIN + "\n" + tables(found) + "\n" + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    main()
