"""Brings what the peers need, once: npm packages, and programs built by Go and Cargo. What cannot be had is left out, with a word."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.servers import BUILT, PEER_KINDS, PEERS, Kind
from project.setup import Stamp, contents


class LeftOut(Exception):
    """Why a peer cannot take part."""


def run(folder: Path, *command: str, **env: str) -> None:
    done = subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["it says nothing"]
        raise LeftOut(f"{command[0]} failed: {last[0]}")


def build(say: Callable[[str], None], name: str, program: str, files: list[str], make: Callable[[Path], None]) -> None:
    """Run `make` in the folder `name` unless it has been run with just these files."""
    if shutil.which(program) is None:
        raise LeftOut(f"{program} is not installed")
    folder = PEERS / name
    stamp = Stamp(name, contents([folder / file for file in files]), folder=BUILT)
    if not stamp.holds():
        say(f"Building bench/peers/{name}, once …")
        BUILT.mkdir(exist_ok=True)
        make(folder)
        stamp.set()


def make_node(folder: Path) -> None:
    run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def make_centrifuge(folder: Path) -> None:
    run(folder, "go", "build", "-o", str(BUILT / "centrifuge"), ".")


def make_rust(folder: Path) -> None:
    run(folder, "cargo", "build", "--release", "--locked", "--quiet", CARGO_TARGET_DIR=str(BUILT / "cargo"))
    shutil.copy(BUILT / "cargo" / "release" / "wirelog-bench-peer", BUILT / "rust")


NODE = ("node", "npm", ["package-lock.json"], make_node)
NEEDS: dict[str, tuple[str, str, list[str], Callable[[Path], None]]] = {
    "socket.io": NODE,
    "ws": NODE,
    "centrifuge": ("go", "go", ["main.go", "go.mod", "go.sum"], make_centrifuge),
    "rust": ("rust", "cargo", ["src/main.rs", "Cargo.toml", "Cargo.lock"], make_rust),
}


def ready(say: Callable[[str], None]) -> Iterator[Kind]:
    """The peers that can take part."""
    for kind in PEER_KINDS:
        try:
            if kind.name in NEEDS:
                build(say, *NEEDS[kind.name])
        except LeftOut as reason:
            say(f"{kind.title} is left out: {reason}.")
        else:
            yield kind
