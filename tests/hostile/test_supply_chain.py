"""What is installed is what was locked, to the byte, and each package is there for a reason that is written down."""

import base64
import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
README = ROOT / "README.md"
NAME = re.compile(r"[A-Za-z0-9._-]+")


def locked() -> list[str]:
    """Each requirement of the lock with its hashes, on one line."""
    whole = re.sub(r"\\\n", " ", LOCK)
    return [line for line in whole.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def test_every_package_is_locked_to_one_version_and_its_hashes() -> None:
    lines = locked()
    assert len(lines) > 50
    for line in lines:
        assert re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[^\s;]+", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), line
    assert "://" not in LOCK


def test_whatever_is_named_is_locked() -> None:
    names = {found.group().lower().replace("_", "-") for line in locked() if (found := NAME.match(line))}
    assert set(named()) <= names


def test_the_environment_is_built_from_the_lock_with_hashes_and_from_nothing_else() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipe = makefile.partition("$(VENV)/ready:")[2].partition("\n\n")[0]
    installs = [line for line in recipe.splitlines() if "install" in line and "$(PIP)" in line]
    assert [("--require-hashes" in line, "--no-deps" in line) for line in installs] == [(True, False), (False, True)]
    assert "--no-build-isolation" in installs[1]  # or it would fetch what it builds with


def wheel(folder: Path) -> Path:
    """A package of one line."""
    path = folder / "tiny-1.0-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
    parts = {
        "tiny.py": "here = True\n",
        "tiny-1.0.dist-info/METADATA": about,
        "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        for name, text in parts.items()
    }
    record = "".join(f"{name},sha256={digest},\n" for name, digest in digests.items())
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in [*parts.items(), ("tiny-1.0.dist-info/RECORD", f"{record}tiny-1.0.dist-info/RECORD,,\n")]:
            archive.writestr(name, text)
    return path


@pytest.mark.parametrize("tampered", [False, True])
def test_a_package_with_another_hash_is_not_installed(tmp_path: Path, tampered: bool) -> None:
    package = wheel(tmp_path)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    if tampered:
        with zipfile.ZipFile(package, "a") as archive:
            archive.comment = b"changed on its way"
    (tmp_path / "requirements.lock").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
    # As the Makefile does, only from a folder.
    words = ["install", "--require-hashes", "--requirement", "requirements.lock", "--target", "there"]
    command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-input", *words]
    run = subprocess.run(
        [*command, "--no-index", "--find-links", "."], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode == 0) == (tmp_path / "there" / "tiny.py").exists() == (not tampered), run.stderr
    assert not tampered or "DO NOT MATCH THE HASHES" in run.stderr


def named() -> list[str]:
    """The packages that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    return [found.group() for line in lines if (found := NAME.match(line))]


def test_each_package_stands_in_the_readme_with_why_it_is_there_and_no_other_does() -> None:
    _, _, section = README.read_text("utf-8").partition("## What it is built on\n")
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", section.partition("\n## ")[0], re.MULTILINE))
    assert set(rows) == set(named())
    assert all(len(why) > 4 for why in rows.values())
