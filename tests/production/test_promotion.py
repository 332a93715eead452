"""The primary dies in mid-game and the replica takes its place: no restart, and what is lost is what is said to be."""

import json
import threading
import time
import urllib.request

import psycopg
import pytest

from tests.faults.stage import USERS, Play, metric
from tests.fix_replica import Pair
from tests.fix_tree import Tree, environment, wait_until

PROMOTED_S = 10.0  # until hosts can save again after the promotion: db_timeout_s is the longest back-off of a pool
TRY_EVERY_S = 0.1


@pytest.fixture
def tree(own_pair: Pair, start_tree: type[Tree]) -> Tree:
    """quizcast on the pair."""
    return start_tree("--web", "2", env=environment(redis_url=own_pair.services.redis_url, database_url=own_pair.url))


class Saving:
    """A host who saves a quiz ten times a second: when that failed, and which quizzes were acknowledged."""

    def __init__(self, url: str) -> None:
        self.kept: list[str] = []
        self.failed_at: list[float] = []
        self._url = url
        account = {"email": "saving@example.org", "password": "correct horse", "name": "Saving"}
        self._token = self._post("/auth/register", account)["access_token"]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._save)
        self._thread.start()

    def _post(self, path: str, body: dict[str, object]) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if path != "/auth/register":
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(f"{self._url}/api/v1{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as reply:
            return dict(json.load(reply))

    def _save(self) -> None:
        question = {"kind": "true_false", "prompt": "Saved?", "correct": True}
        while not self._ending.wait(TRY_EVERY_S):
            try:
                self.kept.append(self._post("/quizzes", {"title": "Saved", "questions": [question]})["id"])
            except OSError:  # an HTTPError too
                self.failed_at.append(time.monotonic())

    def end(self) -> None:
        """Stop saving."""
        self._ending.set()
        self._thread.join()


def answers(url: str) -> set[tuple[str, int, str]]:
    """What is in Postgres."""
    with psycopg.connect(url) as conn:
        return set(conn.execute("SELECT game_id, question, participant_id FROM answers").fetchall())


def test_with_synchronous_replication_a_promotion_in_mid_game_loses_nothing_that_was_acknowledged(
    own_pair: Pair, tree: Tree
) -> None:
    own_pair.keep_in_step()
    saving = Saving(tree.url)
    play = Play(tree.url, questions=4)
    play.until_mid_question(1)
    killed_at = time.monotonic()
    own_pair.kill_primary()
    time.sleep(1.0)  # somebody has to notice
    promoting_at = time.monotonic()
    own_pair.promote()
    kept = len(saving.kept)
    wait_until(lambda: len(saving.kept) > kept, PROMOTED_S)
    back_at = time.monotonic()
    report = play.report()
    saving.end()
    print(
        f"promotion: hosts could not save for {back_at - killed_at:.1f} s, {back_at - promoting_at:.1f} s of it after"
        f" the promotion began; {len(saving.failed_at)} saves failed; {report.answers}, sent again {report.retries}"
    )
    assert report.ok, report.text()
    assert not report.answers.errors
    assert max(saving.failed_at, default=0.0) < back_at + 1.0
    with psycopg.connect(own_pair.url) as conn:
        there = {name for (name,) in conn.execute("SELECT id FROM quizzes")}
    assert set(saving.kept) <= there
    assert tree.ready()


def test_with_asynchronous_replication_a_promotion_loses_what_had_not_been_sent_and_nothing_else(
    own_pair: Pair, tree: Tree
) -> None:
    """The limit that docs/operations.md names: rows leave Redis when the primary alone has them."""
    play = Play(tree.url, questions=3)
    play.until_mid_question(1)
    wait_until(own_pair.caught_up)
    sent = answers(own_pair.replica.url)
    own_pair.line.silent = True
    play.until(lambda now: now.question == 2 and now.stage == "question" and now.answered > now.users // 2)
    wait_until(lambda: len(answers(own_pair.services.database_url)) > len(sent) + USERS)
    committed = answers(own_pair.services.database_url)
    own_pair.kill_primary()
    own_pair.promote()
    report = play.report()
    left = answers(own_pair.url)
    print(f"asynchronous: {len(committed - left)} of {len(committed)} committed answers were lost with the primary")
    assert sent <= left
    assert committed - left  # were it empty, the test would show nothing
    assert report.answers.errors == 0
    assert report.answers.accepted == len(left) + len(committed - left)
    assert {name for name, held in report.checks.items() if not held} <= {"every_ack_in_results", "scores_agree"}, (
        report.text()
    )


def test_with_synchronous_replication_rows_stay_in_redis_while_the_replica_is_cut_off(
    own_pair: Pair, tree: Tree
) -> None:
    own_pair.keep_in_step()
    play = Play(tree.url, questions=3)
    play.until_mid_question(1)
    own_pair.line.silent = True
    play.until(lambda now: now.question == 2 and now.stage == "question" and now.answered > now.users // 2)
    assert metric(tree, "quizcast_queue_depth") > 0
    own_pair.kill_primary()
    own_pair.promote()
    report = play.report()
    assert report.ok, report.text()
