"""The arrows of the architecture go one way, so a file can be read with only the ones before it in mind."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from .machine import ROOT

APP = ROOT / "realtime"
# Each rank may use the ones before it. Modules that are not named here belong to whoever imports them.
BYTES = [{"errors", "conf"}, {"protocol"}, {"outbox"}]
RECORDS = [
    {"models"},
    {"access"},
    {"credentials"},
    {"items"},
    {"journal", "reads", "notices"},
    {"replay"},
    {"hub"},
    {"presence", "revocation", "control"},
    {"engine"},
    {"rpc_methods", "session"},
    {"consumers", "api", "views"},
]
EDGES = {"consumers", "views", "management"}


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Without what only the type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from runtime_nodes(node)


def imported_names(node: ast.AST) -> list[str]:
    """Full names, where `from . import a` in the app is `realtime.a`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    module = ".".join(filter(None, ["realtime" if node.level == 1 else "", node.module]))
    return [module, *(f"{module}.{alias.name}" for alias in node.names)]


def imports_of(path: Path) -> set[str]:
    nodes = runtime_nodes(ast.parse(path.read_text()))
    return {name for node in nodes for name in imported_names(node)}


MODULES = {path.stem: path for path in APP.glob("*.py")}
PACKAGES = {"admin", "management", "templatetags"}
GRAPH = {
    stem: {name.split(".")[1] for name in imports_of(path) if name.startswith("realtime.")} & (MODULES.keys() | PACKAGES)
    for stem, path in MODULES.items()
}


def reachable(module: str) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        for name in GRAPH.get(waiting.pop(), set()) - found:
            found.add(name)
            waiting.append(name)
    return found


def test_it_reads_the_imports_of_the_app() -> None:
    assert "errors" in GRAPH["protocol"]
    assert "models" in reachable("journal")


@pytest.mark.parametrize("ranks", [BYTES, RECORDS], ids=["bytes", "records"])
def test_every_rank_uses_only_the_ones_before_it(ranks: list[set[str]]) -> None:
    for number, rank in enumerate(ranks):
        later = set().union(*ranks[number + 1 :])
        for module in rank & MODULES.keys():
            assert not reachable(module) & later, f"{module} must not use {sorted(reachable(module) & later)}, not even through others"


def test_no_module_needs_itself() -> None:
    assert [module for module in GRAPH if module in reachable(module)] == []


def test_nothing_imports_consumers_views_or_commands() -> None:
    for module, names in GRAPH.items():
        if module not in {"urls", "routing", "__main__"}:
            assert not names & EDGES, f"{module} imports {sorted(names & EDGES)}"


def test_the_protocol_knows_neither_django_nor_asyncio() -> None:
    for module in {"protocol"} | reachable("protocol"):
        tops = {name.partition(".")[0] for name in imports_of(MODULES[module])}
        assert not tops & {"django", "channels", "asyncio"}, f"{module} imports {sorted(tops)}"


def test_the_app_does_not_know_the_project_around_it() -> None:
    for path in APP.rglob("*.py"):
        assert not {name for name in imports_of(path) if name.partition(".")[0] == "project"}, path
