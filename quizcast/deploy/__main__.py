"""`python -m quizcast.deploy FOLDER`: nginx/ and systemd/ as they stand in the repository; on top of `deploy`."""

import sys
from pathlib import Path

from quizcast.deploy.nginx import Site
from quizcast.deploy.units import Places, files
from quizcast.settings import Settings


def shown() -> dict[str, str]:
    """The files of a machine without options: path in the repository → text."""
    units = {f"systemd/{name}": text for name, text in files(Places(), Settings()).items()}
    return units | {"nginx/quizcast.conf": Site.on(Places().run).text()}


if __name__ == "__main__":
    for path, text in shown().items():
        (Path(sys.argv[1]) / path).write_text(text, "utf-8")
