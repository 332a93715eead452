"""Files from hosts and for hosts: nothing in them explodes, runs, or reads what is not its own.

What spreadsheets may take for a formula is tested in tests/unit/test_formats.py and tests/e2e/test_host.py.
"""

import ast
import gzip
import io
import json
import time
import zipfile
from pathlib import Path

import pytest

import quizcast
from tests.client import QUIZ, good, refused
from tests.hostile.world import World

# What unpacks, or follows references, or builds objects by name: none of it has any business here.
EXPLOSIVE = {
    *("zipfile", "tarfile", "gzip", "bz2", "lzma", "xml", "lxml", "openpyxl"),
    *("pickle", "marshal", "shelve", "yaml"),
}
PACKS = {"assets.py": {"gzip"}, "months.py": {"gzip"}}  # what only packs, and only what is ours
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
XML = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "lol">{LAUGHS}]><l>&l9;</l>'
EXTERNAL = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><l>&x;</l>'
SVG = '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>'


def workbook(**parts: str) -> bytes:
    """A file that looks like a workbook, with these parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        for name, text in parts.items():
            archive.writestr(f"xl/{name}.xml", text)
    return out.getvalue()


FILES = {
    "a bomb": workbook(sharedStrings="0" * 60_000_000),
    "a workbook of laughs": workbook(workbook=XML),
    "a workbook that reads another file": workbook(workbook=EXTERNAL),
    "laughs": XML.encode(),
    "a reference to a file": EXTERNAL.encode(),
    "a picture that runs": SVG.encode(),
    "a page": b"<!doctype html><script>alert(1)</script>",
    "a pickle": b"cos\nsystem\n(S'true'\ntR.",
    "YAML with objects": b"!!python/object/apply:os.system ['true']",
    "a compressed quiz": gzip.compress(json.dumps(QUIZ).encode()),
}


def test_no_code_of_ours_unpacks_archives_or_reads_xml_or_builds_objects_by_name() -> None:
    for path in Path(quizcast.__file__).parent.rglob("*.py"):
        refused = EXPLOSIVE - PACKS.get(path.name, set())
        assert not PACKS.get(path.name) or "decompress" not in path.read_text("utf-8"), path
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not refused & {name.partition(".")[0] for name in names}, path


@pytest.mark.parametrize("kind", ["", "json", "csv", "opentrivia"])
@pytest.mark.parametrize("what", FILES)
def test_a_file_that_would_explode_somewhere_else_is_no_quiz(world: World, what: str, kind: str) -> None:
    assert len(FILES[what]) < world.site.settings.import_bytes_max
    began = time.monotonic()
    reply = world.send(
        "POST",
        "/quizzes/import",
        world.host,
        params={"format": kind} if kind else {},
        content=FILES[what],
        headers={"Content-Encoding": "gzip"} if what == "a compressed quiz" else {},
    )
    assert refused(reply) == (422, "file_invalid")
    assert "root:" not in reply.text
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
        "data:image/svg+xml,<svg onload=alert(1)>",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://example.org/x",
        "//evil.example/x.png",
        "/\\evil.example/x.png",
        "ftp://example.org/x.png",
        "https:evil",
        "https://",
        'https://example.org/"onerror="alert(1)',
        "https://example.org/\nx",
    ],
)
def test_a_picture_is_at_a_plain_web_address_by_whichever_way_it_comes(world: World, url: str) -> None:
    quiz = {"title": "T", "questions": [{**QUIZ["questions"][1], "media_url": url}]}
    for method, path in (("POST", "/quizzes"), ("PUT", f"/quizzes/{world.quiz}"), ("POST", "/quizzes/import")):
        reply = world.send(method, path, world.host, json=quiz)
        assert reply.status_code == 422, (path, reply.text)
        assert "media_url" in reply.text
    quoted = url.replace('"', '""')
    table = f'kind,prompt,correct,media_url\r\ntrue_false,?,true,"{quoted}"\r\n'
    reply = world.send("POST", "/quizzes/import?format=csv", world.host, content=table.encode())
    # A spreadsheet's cell has blanks around it that mean nothing.
    assert reply.status_code == 422 or url != url.strip()


@pytest.mark.parametrize("title", ['x"; filename="evil.exe', "../../etc/passwd", "a/b\\c", "\u202egnp.exe", "é", "."])
def test_a_title_names_a_file_and_no_place_and_no_header(world: World, title: str) -> None:
    made = world.send("POST", "/quizzes", world.host, json=QUIZ | {"title": title})
    if made.status_code == 422:
        return  # a title that nobody can read is none
    path = f"/quizzes/{good(made, 201)['id']}"
    for kind in ("json", "csv"):
        reply = world.send("GET", f"{path}/export?format={kind}", world.host)
        said = reply.headers["content-disposition"]
        assert said.startswith('attachment; filename="')
        name = said.removeprefix('attachment; filename="').removesuffix('"')
        assert name.endswith(f".{kind}")
        assert not set(name) & set('"\\/\r\n;%')
        assert name.isascii()
        assert not name.startswith(".")
        assert reply.headers["x-content-type-options"] == "nosniff"
    world.send("DELETE", path, world.host)
