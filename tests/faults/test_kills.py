"""Processes that are killed while a crowd plays."""

from tests.faults.stage import Play, Stage


def test_a_game_goes_on_when_a_web_process_is_killed_in_mid_question(stage: Stage) -> None:
    play = Play(stage.tree.url)
    play.until_mid_question(1)
    killed = stage.kill("quizcast: web 0")
    report = play.report()
    assert report.ok, report.text()
    assert report.resume_ms.p99 < 3000
    assert stage.tree.pid("quizcast: web 0") != killed
