"""The README's examples, as they stand there, against real processes: so that they cannot rot."""

import re
import subprocess
import sys
from pathlib import Path

from tests.fix_tree import environment
from tests.fix_web import Site

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SERVER = "http://127.0.0.1:8000"  # where the README's `quizcast serve` listens
PATIENCE_S = 60.0


def example(name: str, language: str) -> str:
    """All blocks of a language between the README's marks `name` and `end name`, as one text."""
    part = README.split(f"<!-- {name} -->")[1].split(f"<!-- end {name} -->")[0]
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", part, re.DOTALL | re.MULTILINE))


def run(*words: str) -> str:
    """What a command prints; its complaints, when it fails."""
    done = subprocess.run(
        words,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_first_game_by_hand_works_as_the_readme_shows_it(site: Site) -> None:
    script = example("by hand", "sh")
    assert SERVER in script

    printed = run("bash", "-euc", script.replace(SERVER, site.url))

    events = re.findall(r"^event: (\w+)$", printed, re.MULTILINE)
    kept = [name for name in events if name in ("snapshot", "question", "closed", "result", "leaderboard", "finished")]
    assert kept == ["snapshot", "question", "closed", "result", "leaderboard", "finished"]
    assert '"reason":"all_answered"' in printed
    header, first, second = printed.strip().splitlines()[-3:]
    assert header.startswith("rank,nickname,participant_id,score,q1_answer")
    assert first.startswith("1,Ada,")
    assert ",Saturn,true," in first
    assert second.startswith("2,Ben,")
    assert ",Mars,false,0," in second


def test_the_first_game_in_python_works_as_the_readme_shows_it(site: Site) -> None:
    printed = run(sys.executable, "-c", example("in python", "python"), site.url).splitlines()

    assert len(printed) == 3
    assert printed[0].endswith("place 1")
    assert printed[1].endswith("place 1")
    assert printed[2] == "won by Ada"


def test_every_link_of_the_readme_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert targets
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert not missing
