"""The static tree: its digest, what its modules import, and the folder with compressed variants."""

import gzip
import os
import re
import threading
import time
from pathlib import Path

import brotli
import pytest

from quizcast import assets
from quizcast.assets import KEPT_S, TYPES, Assets, build, variant
from quizcast.deploy.nginx import Site

TREE = {
    "play/main.js": b'import { html } from "../ui/html.js";\nimport "./seat.js";\n() => import("./late.js");\n',
    "play/seat.js": b'import {\n  a,\n  b as c,\n} from "../ui/html.js";import*as q from"../quizcast.js"\n',
    "play/late.js": b'import "../ui/html.js";\n',
    "ui/html.js": b'import d, { h } from "../vendor/preact.js"\nexport * from "../vendor/preact.js";\n',
    "vendor/preact.js": b'var a="import x from \'./no.js\'";export{a as b};export const from = "./no.js";\n',
    "quizcast.js": b'/**\n * import { Game } from "./example.js";\n */\n// import "./c.js"\nexport default "x";\n',
    "i18n/de.json": b"{}",
    "i18n/en.json": b"{}",
    "icon.svg": b"<svg/>",
    "style.css": b".a { color: red; }\n" * 50,
}


def written(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder with these files."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def test_only_what_is_for_browsers_is_read(tmp_path: Path) -> None:
    others = {"vendor/THIRD_PARTY.md": b"#", "vendor/LICENSE": b"MIT", "a.js.gz": b"", ".x": b""}
    assert Assets.read(written(tmp_path, TREE | others)).files == TREE


def test_the_digest_goes_by_every_name_and_every_byte_and_nothing_else() -> None:
    digest = Assets(TREE).digest
    assert digest == Assets(dict(reversed(TREE.items()))).digest
    others = [
        TREE | {"style.css": TREE["style.css"] + b"\n"},
        {path: content for path, content in TREE.items() if path != "style.css"},
        {path.replace("late", "soon"): content for path, content in TREE.items()},
        {"a.js": b"1b.js2"},
        {"a.js": b"1", "b.js": b"2"},
    ]
    assert len({digest, *(Assets(files).digest for files in others)}) == 6


def test_what_a_module_imports_at_once_is_found_and_nothing_that_only_looks_like_it() -> None:
    tree = Assets(TREE)
    assert tree.imports("play/main.js") == ["ui/html.js", "play/seat.js"]
    assert tree.imports("play/seat.js") == ["ui/html.js", "quizcast.js"]
    assert tree.imports("ui/html.js") == ["vendor/preact.js", "vendor/preact.js"]
    assert tree.imports("vendor/preact.js") == []
    assert tree.imports("quizcast.js") == []


def test_a_pages_modules_are_all_that_it_needs_to_run_each_once() -> None:
    tree = Assets(TREE)
    assert tree.modules("play/main.js") == [
        "play/main.js", "ui/html.js", "play/seat.js", "vendor/preact.js", "quizcast.js",
    ]  # fmt: skip
    assert tree.modules("host/main.js") == []
    around = Assets({"a.js": b'import "./b.js"', "b.js": b'import "./a.js"'})
    assert around.modules("a.js") == ["a.js", "b.js"]


def test_every_import_of_what_is_shipped_is_there() -> None:
    shipped = Assets.shipped()
    assert "icon.svg" in shipped.files
    missing = [(path, one) for path in shipped.files for one in shipped.imports(path) if one not in shipped.files]
    assert missing == []


def test_english_is_the_first_language() -> None:
    assert Assets(TREE).languages == ["en", "de"]


def test_a_built_folder_has_every_file_and_variants_of_those_that_gain(tmp_path: Path) -> None:
    tree = Assets(TREE)
    whole = build(tree, tmp_path / "static")
    assert whole == tmp_path / "static" / tree.digest
    assert Assets.read(whole).digest == tree.digest
    css = TREE["style.css"]
    assert gzip.decompress((whole / "style.css.gz").read_bytes()) == css
    assert brotli.decompress((whole / "style.css.br").read_bytes()) == css
    assert variant(whole.parent, tree.digest, "style.css", "br") == (whole / "style.css.br").read_bytes()
    assert not (whole / "i18n/en.json.gz").exists()  # two bytes do not get fewer
    assert variant(whole.parent, tree.digest, "i18n/en.json", "gzip") is None


def test_nginx_may_read_what_is_built_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        whole = build(Assets(TREE), tmp_path / "static")
    finally:
        os.umask(before)
    for path in (whole.parent, whole, *whole.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_building_again_does_nothing_and_marks_the_folder_as_in_use(tmp_path: Path) -> None:
    whole = build(Assets(TREE), tmp_path)
    (whole / "style.css.br").write_bytes(b"mark")
    os.utime(whole, (0, 0))
    assert build(Assets(TREE), tmp_path) == whole
    assert (whole / "style.css.br").read_bytes() == b"mark"
    assert time.time() - whole.stat().st_mtime < 60


def test_an_older_version_stays_for_a_while_and_then_goes(tmp_path: Path) -> None:
    recent, old, half = (build(Assets({"a.js": text}), tmp_path) for text in (b"1", b"2", b"3"))
    half = half.rename(tmp_path / ".half")
    foreign = tmp_path / "not-ours"
    foreign.mkdir()
    for path, age_s in ((recent, KEPT_S - 60), (old, KEPT_S + 60), (half, KEPT_S + 60), (foreign, KEPT_S + 60)):
        os.utime(path, (time.time() - age_s,) * 2)
    now = build(Assets({"a.js": b"4"}), tmp_path)
    assert set(tmp_path.iterdir()) == {now, recent, foreign}


def test_two_who_build_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    tree, came = Assets(TREE), []
    threads = [threading.Thread(target=lambda: came.append(build(tree, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert came == [tmp_path / tree.digest] * 4
    assert list(tmp_path.iterdir()) == [tmp_path / tree.digest]
    assert Assets.read(came[0]).digest == tree.digest


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError("no space")

    monkeypatch.setattr(assets, "_write", full)
    with pytest.raises(OSError, match="no space"):
        build(Assets(TREE), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_type_says_its_charset_where_it_has_one() -> None:
    assert all("charset=utf-8" in kind for kind in TYPES.values() if kind.startswith("text/"))


def test_nginx_gives_out_the_same_types() -> None:
    told = re.search(r"types {(.*?)}", Site.on(Path("/run/quizcast")).text(), re.DOTALL)
    assert told is not None
    pairs = (line.split() for line in told[1].split(";") if line.strip())
    assert {f".{ending}": kind for kind, ending in pairs} == {
        end: kind.partition(";")[0] for end, kind in TYPES.items()
    }
