"""The commands of the documentation, for the tests that run them as they stand there.

`test_commands.py` fails for a section with commands that no test asks for here; who asks for them takes all there are.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADING = re.compile(r"^#{1,3} (.+)$", re.MULTILINE)


def sections(page: str) -> dict[str, str]:
    """A page (its path in the repository) by its headings; each up to the next one, whatever that one's depth."""
    # What is a comment in a block of commands looks like a heading.
    parts = re.split(r"(^```.*?^```$)", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: dict[str, str] = {}
    title = ""
    for part in parts:
        if part.startswith("```"):
            found[title] += part
            continue
        first, *rest = HEADING.split(part)
        found[title] = found.get(title, "") + first
        for title, text in zip(rest[::2], rest[1::2], strict=True):
            assert title not in found, f"{page} has two sections of the name {title}"
            found[title] = text
    return found


def blocks(page: str, section: str, language: str = "sh") -> list[str]:
    """The blocks of a section, in their order. Give page and section as they are, for `test_commands.py` to find."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", sections(page)[section], re.MULTILINE | re.DOTALL)
    return found
