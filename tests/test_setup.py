"""The set-up of a checkout, step by step, with programs that pretend."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from project import setup

Program = Callable[..., str]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A program that says something, leaves a note of its arguments, and ends with a status."""

    def make(name: str, says: str = "", status: int = 0) -> str:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/{name}.calls\ncat <<"END"\n{says}\nEND\nexit {status}\n')
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def only_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/bin")
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / "bin" / name) if (tmp_path / "bin" / name).exists() else None)


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "LOCK", tmp_path / "package-lock.json")
    monkeypatch.setattr(setup, "NODE_MODULES", tmp_path / "node_modules")
    monkeypatch.setattr(setup, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(setup, "STAMPS", tmp_path / ".venv" / "stamps")
    for name in ("package.json", "package-lock.json", "requirements.txt", "requirements-dev.txt", "requirements-oldest.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / ".venv").mkdir()
    return tmp_path


def calls(folder: Path, name: str) -> list[str]:
    notes = folder / f"{name}.calls"
    return notes.read_text().splitlines() if notes.exists() else []


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: Could not find a version that satisfies the requirement django (from versions: none)",
        "NewConnectionError: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution",
        "npm error code EAI_AGAIN",
        "npm error FetchError: request to … failed, reason: connect ECONNREFUSED 127.0.0.1:1",
    ],
)
def test_a_registry_that_cannot_be_reached_is_one_sentence(program: Program, said: str) -> None:
    with pytest.raises(setup.Failure, match="package registry cannot be reached, so the set-up is not complete") as failure:
        setup.run([program("pip", said, 1)], "Python")
    assert said not in str(failure.value)


def test_another_failure_shows_what_was_said(program: Program) -> None:
    with pytest.raises(setup.Failure, match=r"(?s)the compiler is missing.*could not be installed"):
        setup.run([program("pip", "the compiler is missing", 1)], "Python")


def test_a_step_without_a_registry_speaks_for_itself(program: Program) -> None:
    with pytest.raises(setup.Failure) as failure:
        setup.run([program("manage", "Error: The data folder is not writable.", 1)])
    assert str(failure.value) == "Error: The data folder is not writable."


def test_an_old_python_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(setup.Failure, match=r"needs Python 3\.11 or newer, and this is 3\.9\.2"):
        setup.require_python()


def test_an_old_python_hands_over_to_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []

    def execv(path: str, arguments: list[str]) -> None:
        taken.append((path, arguments))
        raise SystemExit

    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(shutil, "which", lambda name: "/opt/python3.12" if name == "python3.12" else None)
    monkeypatch.setattr(setup, "succeeds", lambda command: True)
    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(SystemExit):
        setup.require_python()
    assert taken == [("/opt/python3.12", ["/opt/python3.12", *sys.argv])]


# Stamps


def test_a_step_is_repeated_only_when_its_sources_change(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("one")

    def stamp() -> setup.Stamp:
        return setup.Stamp("step", setup.contents([source]), folder=tmp_path)

    assert not stamp().holds()
    stamp().set()
    assert stamp().holds()
    os.utime(source, (0, 0))
    assert stamp().holds(), "content counts, not time"
    source.write_text("two")
    assert not stamp().holds()


def test_browser_packages_are_installed_once(checkout: Path, program: Program, only_programs: None) -> None:
    program("node", "v22.13.1")
    program("npm")
    setup.install_browser_packages(dev=False)
    setup.install_browser_packages(dev=False)
    (call,) = calls(checkout, "npm")
    assert call.startswith("ci --ignore-scripts ")
    assert call.endswith("--omit=dev")


def test_what_tests_need_is_enough_to_run(checkout: Path, program: Program, only_programs: None) -> None:
    program("node", "v22.13.1")
    program("npm")
    setup.install_browser_packages(dev=True)
    setup.install_browser_packages(dev=False)
    (call,) = calls(checkout, "npm")
    assert "--omit=dev" not in call


def test_python_packages_are_installed_once(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(setup, "pip", lambda option, file: asked.append(Path(file).name))
    for dev in (False, False, True, False, True):
        setup.install_python_packages(dev)
    assert asked == ["requirements.txt", "requirements-dev.txt"]
    (checkout / "requirements.txt").write_text("something new")
    setup.install_python_packages(dev=True)
    assert asked[2:] == ["requirements-dev.txt"], "which brings the others"


def test_the_oldest_clients_lie_in_a_folder_of_their_own(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(setup, "pip", lambda *what: asked.append(what))
    for _ in range(2):
        setup.install_oldest_clients()
    (what,) = asked
    assert what[what.index("--target") + 1] == str(checkout / ".venv" / "oldest")
    assert what[-1].endswith("requirements-oldest.txt")


def test_a_failed_step_is_tried_again(checkout: Path, program: Program, only_programs: None) -> None:
    program("node", "v22.13.1")
    program("npm", "npm error code EAI_AGAIN", 1)
    with pytest.raises(setup.Failure):
        setup.install_browser_packages(dev=False)
    program("npm")
    setup.install_browser_packages(dev=False)
    assert len(calls(checkout, "npm")) == 2


@pytest.mark.parametrize("node", ["", "v18.20.4", "v20.18.9"])
def test_without_a_new_enough_node_one_comes_from_pypi(
    checkout: Path, program: Program, only_programs: None, monkeypatch: pytest.MonkeyPatch, node: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(setup, "pip", asked.append)
    if node:
        program("node", node)
        program("npm")
    assert setup.find_npm() == [str(checkout / ".venv" / "bin" / "npm")]
    assert asked == [setup.NODE_PACKAGE]


@pytest.mark.parametrize("node", ["v20.19.0", "v22.1.0", "v100.0.0"])
def test_a_new_enough_node_is_taken_as_it_is(program: Program, only_programs: None, node: str) -> None:
    program("node", node)
    npm = program("npm")
    assert setup.find_npm() == [npm]
