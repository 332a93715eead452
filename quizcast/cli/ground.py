"""What the commands share: options, settings and logs at their start, what is wrong in one line; inside `cli`."""

import os
import sys
import threading
import time
from pathlib import Path

import click
import msgspec

from quizcast.errors import QuizcastError, SettingsInvalid
from quizcast.settings import Settings

PROBLEMS_SHOWN = 10
PARENT_LOOK_S = 1.0

data_dir_option = click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where the data live [QUIZCAST_DATA_DIR]."
)
host_option = click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 for everyone around.")
port_option = click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any.")
url_option = click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The server.")
email_option = click.option("--email", envvar="QUIZCAST_EMAIL", help="The host's account [QUIZCAST_EMAIL].")


def begin(process: str, data_dir: Path | None = None) -> Settings:
    """The settings, the logs, and the name that `ps` shows. Raises `SettingsInvalid`."""
    from setproctitle import setproctitle

    from quizcast import logs

    settings = Settings.from_env()
    if data_dir is not None:
        settings = msgspec.structs.replace(settings, data_dir=data_dir)
    logs.configure(settings.log_level, settings.log_format, process=process)
    setproctitle(f"quizcast: {process}")
    return settings


def external(settings: Settings) -> Settings:
    if settings.embedded:
        raise SettingsInvalid(
            "set QUIZCAST_REDIS_URL and QUIZCAST_DATABASE_URL for this, or let `quizcast serve` bring its own servers"
        )
    return settings


def end_with(parent: int | None) -> None:
    """Tie this process's life to its supervisor's, however that ends."""
    if parent is None:
        return
    import signal

    from quizcast.embedded import launch

    launch.die_with_parent(parent, signal.SIGKILL)
    if sys.platform == "linux":
        return

    def look() -> None:  # where the kernel does not do it
        while os.getppid() == parent:
            time.sleep(PARENT_LOOK_S)
        os._exit(1)

    threading.Thread(target=look, name="parent", daemon=True).start()


def password() -> str:
    return os.environ.get("QUIZCAST_PASSWORD") or str(click.prompt("Password", hide_input=True, err=True))


def cores() -> int:
    return min(os.cpu_count() or 1, 16)


def problems(error: QuizcastError) -> list[str]:
    """All that is wrong, where it is more than the error itself has said."""
    if len(error.problems) < 2:
        return []
    lines = [f"  {each.path}: {each.message}" for each in error.problems[:PROBLEMS_SHOWN]]
    if (more := len(error.problems) - PROBLEMS_SHOWN) > 0:
        lines.append(f"  and {more} more")
    return lines
