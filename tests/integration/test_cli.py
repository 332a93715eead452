"""The commands as a person types them: what they print, and their exit status."""

import json
from pathlib import Path

import pytest

from quizcast import __version__
from tests.fix_tree import Tree, environment, quizcast

DATA = Path(__file__).parent.parent / "data"
HOST = environment(email="teacher@example.com", password="a password of some length")


def test_help_names_every_command() -> None:
    done = quizcast("--help")
    assert done.returncode == 0
    names = "serve web worker migrate assets demo simulate import export doctor deadletter version"
    for command in names.split():
        assert f"\n  {command} " in done.stdout
    assert len(done.stdout.splitlines()) < 40


def test_version_is_the_packages() -> None:
    assert quizcast("version").stdout == quizcast("--version").stdout == f"quizcast {__version__}\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sevre"], "error: No such command 'sevre'"),
        (["serve", "--prot", "1"], "error: No such option"),
        (["serve", "--port", "70000"], "error: Invalid value for '--port'"),
        (["import"], "error: Missing argument"),
        (["import", "nowhere.json"], "error: Invalid value for 'FILE"),
        (["deadletter"], "error: Missing command"),
        (["deadletter", "burn"], "error: No such command 'burn'"),
        (["deadletter", "list", "--limit", "0"], "error: Invalid value for '--limit'"),
        (["deadletter", "retry"], "error: Name dead letters by their ids, or say --all"),
        (["deadletter", "retry", "0:1-0", "--all"], "error: Name dead letters by their ids, or say --all"),
        (["deadletter", "drop", "1700000000000-0"], "error: Invalid value for '[ID…]'"),
    ],
)
def test_wrong_usage_is_one_line_with_where_to_look(words: list[str], says: str) -> None:
    done = quizcast(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(says)
    assert "--help`" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["web", "worker", "migrate"])
def test_a_part_alone_asks_for_the_servers_it_needs(command: str) -> None:
    done = quizcast(command)
    assert done.returncode == 1
    assert done.stderr.startswith("error: set QUIZCAST_REDIS_URL and QUIZCAST_DATABASE_URL")


def test_wrong_settings_are_named_together_and_their_values_are_not() -> None:
    done = quizcast("serve", env=environment(shards="hunter2", drain_s="-1"))
    assert done.returncode == 1
    assert "QUIZCAST_SHARDS" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_said_in_one_line() -> None:
    for words in (["simulate", "--users", "1"], ["export", "x"]):
        done = quizcast(*words, "--url", "http://127.0.0.1:9", env=HOST)
        assert done.returncode == 1
        assert "Is the server running?" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_quiz_goes_in_and_comes_out_again(tree: Tree, tmp_path: Path) -> None:
    path = DATA / "messy-trivia.txt"
    done = quizcast("import", "--register", "--url", tree.url, str(path), env=HOST)
    assert done.returncode == 0, done.stderr
    assert f"{path}: read " in done.stderr
    assert "\n  line " in done.stderr
    quiz_id = done.stdout.split()[0]

    out = tmp_path / "quiz.json"
    assert quizcast("export", quiz_id, "--url", tree.url, "-o", str(out), env=HOST).returncode == 0
    again = quizcast("import", "--url", tree.url, str(out), env=HOST)
    assert again.returncode == 0
    assert again.stdout.partition("  ")[2] == done.stdout.partition("  ")[2]
    assert "skipped 0" in again.stderr


def test_a_file_that_cannot_be_read_fails_and_the_others_still_go_in(tree: Tree, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"title": "x", "questions": [{"kind": "single"}]}')
    good = tmp_path / "good.json"
    question = {"kind": "true_false", "prompt": "Is it?", "correct": True}
    good.write_text(json.dumps({"title": "Good", "questions": [question]}))
    env = environment(email="other@example.com", password="a password of some length")
    done = quizcast("import", "--register", "--url", tree.url, str(bad), str(good), env=env)
    assert done.returncode == 1
    assert f"{bad}: questions[0]" in done.stderr
    assert "Good" in done.stdout


def test_a_wrong_password_is_said_and_not_shown(tree: Tree) -> None:
    env = environment(email="nobody@example.com", password="hunter2hunter2")
    done = quizcast("export", "x", "--url", tree.url, env=env)
    assert done.returncode == 1
    assert "credentials_wrong" in done.stderr
    assert "hunter2" not in done.stderr


def test_simulate_reports_and_succeeds_only_when_every_check_held(tree: Tree, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = quizcast("simulate", "--url", tree.url, "--users", "5", "--questions", "2", "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    assert told["ok"]
    assert told["answers"]["in_results"] == 10


def test_demo_plays_a_game_and_leaves_nothing(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    env = environment() | {"TMPDIR": str(tmp_path)}
    done = quizcast("demo", "--users", "10", "--questions", "1", "--exit", "--json", str(report), env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "quizcast is ready on http://127.0.0.1:" in done.stdout
    assert "\nPIN " in done.stdout
    assert json.loads(report.read_text())["ok"]
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_dead_letters_are_looked_for_where_serve_runs(tree: Tree, tmp_path: Path) -> None:
    done = quizcast("deadletter", "list", "--data-dir", str(tree.data_dir))
    assert (done.returncode, done.stdout, done.stderr) == (0, "no dead letters wait\n", "")
    done = quizcast("deadletter", "list", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: no `quizcast serve` of this user runs on ")
    assert list(tmp_path.iterdir()) == []


def test_doctor_is_content_with_a_machine_that_can_serve() -> None:
    done = quizcast("doctor")
    assert done.returncode == 0, done.stdout
    assert "ok   embedded Redis: " in done.stdout
    assert "ok   embedded Postgres: " in done.stdout


def test_doctor_looks_at_servers_and_says_what_to_do(redis_url: str, database_url: str) -> None:
    # The tests' own Redis syncs nothing to disk: exactly what a doctor should see.
    done = quizcast("doctor", env=environment(redis_url=redis_url, database_url=database_url))
    assert done.returncode == 0, done.stdout
    assert "ok   Postgres schema: up to date" in done.stdout
    assert "warn Redis on disk: appendfsync is no" in done.stdout
    assert "CONFIG SET appendfsync always" in done.stdout


def test_doctor_fails_when_a_server_is_away_and_hides_its_password() -> None:
    urls = {"redis_url": "redis://:hunter2@127.0.0.1:9/0", "database_url": "postgresql://me:hunter2@127.0.0.1:9/x"}
    done = quizcast("doctor", env=environment(**urls))
    assert done.returncode == 1
    assert "fail Redis: redis://:***@127.0.0.1:9/0" in done.stdout
    assert "fail Postgres: " in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
