"""Text with `{{names}}` in it: nginx and systemd have uses for every shorter mark; at the bottom of `deploy`."""

import re
from importlib import resources

_BLOCK = re.compile(r"^([ \t]*)\{\{(\w+)\}\}\n", re.MULTILINE)
_WORD = re.compile(r"\{\{(\w+)\}\}")


def filled(name: str, **values: object) -> str:
    """A file of `templates/` with its values. A name alone on its line takes several lines, or none when it is empty.

    Raises `KeyError` for a name that has no value.
    """
    text = resources.files("quizcast.deploy").joinpath("templates", name).read_text("utf-8")

    def block(found: re.Match[str]) -> str:
        return "".join(f"{found[1]}{line}\n" if line else "\n" for line in str(values[found[2]]).splitlines())

    return _WORD.sub(lambda found: str(values[found[1]]), _BLOCK.sub(block, text))
