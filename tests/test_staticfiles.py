from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles.finders import find
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage

from project.staticfiles import NEEDED, AssetsConfig, AssetsStorage

Collect = Callable[[dict[str, str]], AssetsStorage]


@pytest.fixture
def collect(tmp_path: Path, settings: Any) -> Collect:
    """What `collectstatic` does with these files."""
    settings.DEBUG = False

    def run(files: dict[str, str]) -> AssetsStorage:
        source = FileSystemStorage(location=tmp_path / "source")
        storage = AssetsStorage(location=tmp_path / "collected", base_url="/static/")
        for name, text in files.items():
            for folder in (source, storage):
                folder.delete(name)
                folder.save(name, ContentFile(text))
        for _, _, processed in storage.post_process({name: (source, name) for name in files}):
            if isinstance(processed, Exception):
                raise processed
        return storage

    return run


def test_a_name_changes_with_the_content(collect: Collect) -> None:
    one = collect({"app.js": "export const a = 1;"}).url("app.js")
    two = collect({"app.js": "export const a = 2;"}).url("app.js")
    assert one.startswith("/static/app.")
    assert one != "/static/app.js"
    assert one != two


def test_modules_import_each_other_by_their_hashed_names(collect: Collect) -> None:
    files = {
        "js/app.js": 'import { b } from "./lib.js";\nexport { c } from "../other.mjs";',
        "js/lib.js": "export const b = 1;",
        "other.mjs": "",
    }
    storage = collect(files)
    hashed = storage.url("js/app.js").removeprefix("/static/")
    text = Path(storage.path(hashed)).read_text()
    assert Path(storage.url("js/lib.js")).name in text
    assert Path(storage.url("other.mjs")).name in text


def test_a_file_that_was_not_collected_keeps_its_plain_name(collect: Collect) -> None:
    assert collect({"app.js": ""}).url("new.js") == "/static/new.js"


def test_nothing_collected_at_all_is_no_error_page(tmp_path: Path, settings: Any) -> None:
    settings.DEBUG = False
    assert AssetsStorage(location=tmp_path, base_url="/static/").url("app.js") == "/static/app.js"


def test_the_browser_packages_are_served_under_their_names() -> None:
    assert all(find(name) for name in NEEDED), "run make setup"


def test_only_what_pages_load_is_collected_of_the_packages() -> None:
    assert {"*.d.ts", "protobuf"} <= set(AssetsConfig.ignore_patterns)
