"""A thousand participants, once, against a real `quizcast serve`: nothing lost, doubled or out of order."""

import resource

from quizcast.simulate import run
from tests.fix_tree import Tree

USERS = 1000


def test_a_thousand_people_play_and_every_check_holds(tree: Tree) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        report = run(tree.url, users=USERS, questions=3, join_over_s=2.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert report.ok, report.text()
    assert report.joined == report.streams == USERS
    assert report.answers.in_results == report.answers.accepted == report.answers.sent == 3 * USERS
    assert report.events.missed == report.events.duplicated == report.events.out_of_order == 0
