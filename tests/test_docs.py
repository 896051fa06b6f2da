"""What the documents say is compared with what is there."""

import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from django.conf import settings
from django.core.management import get_commands
from django.urls import URLPattern

import project.urls
import realtime.urls
from realtime import checks
from realtime.conf import DEFAULTS, SETTINGS
from realtime.stream_api import ROUTES
from realtime.stream_write import HEADERS

from .machine import ROOT
from .test_errors import CLOSES, SENTENCES, UNSUBSCRIBES

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
# The sentence that the project stands by, word for word.
PROMISE = (
    "A publish that was acknowledged is on disk and has one offset. Every subscriber that keeps or resumes its position receives every "
    "retained record exactly once, in offset order, through any crash, restart, lost broadcast or reconnect, or is told plainly that it "
    "cannot. A publish without an answer may be retried with its key."
)
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def rows_of(document: str) -> dict[str, tuple[str, str]]:
    """First cell to the two others, of every table whose first cell is code."""
    return {
        name: (default, meaning) for name, default, meaning in re.findall(r"^\| `(\w+)` \| (.*?) ?\| (.*?) \|$", document, re.MULTILINE)
    }


def names_that_settings_read() -> set[str]:
    """Every name that project/settings.py takes from the environment, but for the limits, which come from a table."""
    return set(re.findall(r'environment\.(?!allowed_hosts)\w+\("([A-Z_]+)"', text_of("project/settings.py"))) | {"WIRELOG_ENV_FILE"}


def test_the_readme_is_short_and_keeps_the_promise() -> None:
    readme = text_of("README.md")
    assert len(readme.splitlines()) <= 150
    assert PROMISE in " ".join(readme.split())


def test_every_limit_stands_in_the_configuration_as_it_is() -> None:
    rows = {name: row for name, row in rows_of(text_of("docs/configuration.md")).items() if name.removeprefix("WIRELOG_") in DEFAULTS}
    assert rows == {f"WIRELOG_{setting.name}": (str(setting.default), setting.help) for setting in SETTINGS}


def test_every_name_of_the_environment_stands_in_the_configuration() -> None:
    rows = rows_of(text_of("docs/configuration.md"))
    assert rows.keys() - {f"WIRELOG_{setting.name}" for setting in SETTINGS} == names_that_settings_read()


def test_the_example_environment_knows_only_names_that_exist() -> None:
    names = set(re.findall(r"^#?([A-Z_]+)=", text_of(".env.example"), re.MULTILINE))
    assert names
    assert names <= names_that_settings_read() | {f"WIRELOG_{setting.name}" for setting in SETTINGS}


def test_every_check_stands_in_the_configuration() -> None:
    assert checks.__doc__
    ids = re.compile(r"realtime\.[EW]\d{3}")
    assert set(ids.findall(text_of("docs/configuration.md"))) == set(ids.findall(checks.__doc__))


def test_every_error_stands_with_its_status_and_sentence() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (.*?) \| .+ \|$", text_of("docs/codes.md"), re.MULTILINE)
    assert rows == [(str(code), str(status), sentence) for _, code, status, sentence in SENTENCES]


def test_every_close_and_unsubscribe_code_stands_with_its_reason() -> None:
    rows = re.findall(r"^\| (\d+) \| ([a-z ]+) \| [^|]+ \|$", text_of("docs/codes.md"), re.MULTILINE)
    assert rows == [(str(code), reason) for code, reason in (*CLOSES.values(), *UNSUBSCRIBES.values())]


def test_every_document_stands_in_the_index() -> None:
    linked = set(re.findall(r"\]\(([\w/-]+\.md)", text_of("docs/README.md")))
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    # Written by `make faults` and `make bench`, where they have been run.
    assert there - {"README.md"} <= linked | {"fault-matrix.md", "benchmarks/report.md"}


def test_every_module_stands_in_the_architecture_once() -> None:
    named = re.findall(r"`(\w+\.py)`", text_of("docs/architecture.md"))
    assert sorted(named) == sorted(path.name for path in (ROOT / "realtime").glob("*.py"))


def test_every_command_of_ours_stands_in_the_readme() -> None:
    named = set(re.findall(r"^\| `manage\.py (\w+)", text_of("README.md"), re.MULTILINE))
    assert {name for name, app in get_commands().items() if app == "realtime"} <= named


def test_every_page_stands_with_its_address() -> None:
    told = set(re.findall(r"`/([\w/<>.]*)`", text_of("docs/pages.md")))
    pages = [pattern for module in (project.urls, realtime.urls) for pattern in module.urlpatterns if isinstance(pattern, URLPattern)]
    assert {str(page.pattern).replace("<str:name>", "<stream>") for page in pages} <= told


def test_make_tells_of_every_target_that_is_for_people() -> None:
    makefile = text_of("Makefile")
    told = set(re.findall(r'@echo "make ([a-z-]+) ', makefile))
    assert told == set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) - {"help"}


@documents
def test_every_command_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"manage\.py ([a-z_]+)", document.read_text()))
    assert named - get_commands().keys() == set()


@documents
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(), re.MULTILINE)) - targets == set()


@documents
def test_every_file_that_is_named_exists(document: Path) -> None:
    folders = "bench|clients|project|realtime|static|templates|tests"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]+)`", document.read_text()))
    assert {name for name in named if not (ROOT / name).exists()} == set()


@documents
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", document.read_text()):
        file = document.parent / target if target else document
        # Pictures are made from the running pages.
        assert file.exists() or file.suffix == ".png", f"{document.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_version_is_the_newest_of_the_changelog() -> None:
    newest = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text_of("CHANGELOG.md"), re.MULTILINE)[0]
    assert settings.WIRELOG["VERSION"] == newest


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in text_of("package-lock.json")


def test_the_makefile_declares_every_target_phony() -> None:
    makefile = text_of("Makefile")
    phony = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())
    assert phony == set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_the_ci_script_is_a_script() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o100
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def test_every_route_of_plain_http_stands_in_its_document_with_all_that_it_takes() -> None:
    for route in ROUTES:
        document = text_of("docs/publish.md" if route.method == "POST" else "docs/read.md")
        assert route.path in document
        for name in (*route.headers, *(parameter.name for parameter in msgspec.structs.fields(route.query))):
            assert re.search(rf"[`?&]{re.escape(name)}\b", document), (route.path, name)


def test_every_status_of_a_publish_stands_in_its_document() -> None:
    [route] = [route for route in ROUTES if route.writes]
    told = {int(status) for status in re.findall(r"^\| (\d{3}) \| [\d, ]+ \|", text_of("docs/publish.md"), re.MULTILINE)}
    assert told == {401, *route.refusals, *(error.http_status for error in route.errors)}


def test_what_a_header_means_is_said_once() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*?) \|$", text_of("docs/publish.md"), re.MULTILINE))
    assert {name: rows[name] for name in HEADERS} == HEADERS
