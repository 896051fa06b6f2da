import re
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from realtime.conf import OPTIONS, SETTINGS, data_folder, limit, option

from .machine import ROOT


def test_a_limit_that_nobody_set_has_its_default(settings: Any) -> None:
    del settings.WIRELOG
    assert {setting.name: limit(setting.name) for setting in SETTINGS} == {setting.name: setting.default for setting in SETTINGS}


@pytest.mark.parametrize("value", [1, 10**12])
def test_a_whole_number_is_taken_as_it_is(settings: Any, value: int) -> None:
    settings.WIRELOG = {"IN_FLIGHT": value}
    assert limit("IN_FLIGHT") == value


@pytest.mark.parametrize("value", [-1, 0, 1.5, "256", "", None, True, False, [256]])
def test_anything_else_is_refused_by_a_sentence_that_names_it(settings: Any, value: Any) -> None:
    settings.WIRELOG = {"IN_FLIGHT": value}
    sentence = f"WIRELOG_IN_FLIGHT must be a whole number, 1 or more, not {value!r}."
    with pytest.raises(ImproperlyConfigured, match=re.escape(sentence)):
        limit("IN_FLIGHT")


def test_what_may_be_without_a_limit_takes_0(settings: Any) -> None:
    settings.WIRELOG = {setting.name: 0 for setting in SETTINGS}
    told = [setting.name for setting in SETTINGS if "0 sets no limit" in setting.help]
    assert {limit(name) for name in told} == {0}


def test_a_name_that_is_no_setting_is_an_error_of_the_program(settings: Any) -> None:
    settings.WIRELOG = {"NO_SUCH": 1}
    with pytest.raises(KeyError):
        limit("NO_SUCH")


def test_every_setting_has_a_name_of_its_own_and_a_sentence() -> None:
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    assert all(setting.help.endswith(".") and setting.default >= setting.least for setting in SETTINGS)


def test_a_project_that_says_nothing_has_every_option(settings: Any) -> None:
    del settings.WIRELOG
    assert {name: option(name) for name in OPTIONS} == OPTIONS
    assert data_folder() == Path(settings.DATABASES["default"]["NAME"]).parent


def test_an_option_and_the_data_folder_are_those_that_were_given(settings: Any, tmp_path: Path) -> None:
    settings.WIRELOG = {"ORIGINS": ["https://named.test"], "DATA": str(tmp_path)}
    assert option("ORIGINS") == ["https://named.test"]
    assert data_folder() == tmp_path


def test_an_option_that_does_not_exist_is_an_error_of_the_program() -> None:
    with pytest.raises(KeyError):
        option("NO_SUCH")


def test_nothing_else_reads_the_settings_of_wirelog() -> None:
    readers = {path.name for path in (ROOT / "realtime").rglob("*.py") if re.search(r"settings[.,] ?.?WIRELOG", path.read_text())}
    assert readers == {"conf.py"}
