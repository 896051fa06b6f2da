"""Whatever `protocol.payload` takes, a strict reader of JSON in another language reads too."""

import json
import subprocess
from base64 import b64decode, b64encode
from typing import Any

from hypothesis import given, settings

from realtime import protocol
from realtime.errors import BadRequest

from .generated import TEXTS
from .machine import require
from .poison import DEPTH, SOUND

# Prints the texts of its input, base64 in lines, that are no JSON or hold what is no character or no number.
READER = """
const { readFileSync } = await import("node:fs");
const sound = (value, depth = 0) =>
  typeof value === "string" ? value.isWellFormed() && !value.includes("\\0")
  : typeof value === "number" ? Number.isFinite(value)
  : value === null || typeof value !== "object" ? true
  : depth < DEPTH && Object.entries(value).every(([name, item]) => sound(name) && sound(item, depth + 1));
for (const line of readFileSync(0, "utf8").split("\\n")) {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(line, "base64"));
  try { if (!sound(JSON.parse(text))) console.log(line); } catch { console.log(line); }
}
""".replace("DEPTH", str(DEPTH))


def refuse(constant: str) -> Any:
    raise ValueError(constant)


def test_what_is_taken_is_read_by_python_and_by_a_browser() -> None:
    taken: list[str] = []

    @settings(max_examples=1_500)
    @given(TEXTS)
    def take(text: bytes) -> None:
        try:
            kept = protocol.payload(text)
        except BadRequest:
            return
        assert "\n" not in kept
        assert "\r" not in kept
        # The text says the same as before, and Python reads it without a word of its own for NaN.
        assert json.loads(kept, parse_constant=refuse) == json.loads(text, parse_constant=refuse)
        taken.append(kept)

    take()
    assert len(set(taken)) > 200
    assert foul([*taken, *(data.decode() for data in SOUND.values())]) == []


def test_the_reader_finds_poison() -> None:
    poison = ["NaN", '"\\ud800"', "1e400", '"\\u0000"', "[" * 65 + "]" * 65]
    assert foul(["1", *poison, "[]"]) == poison


def foul(texts: list[str]) -> list[str]:
    lines = "\n".join(b64encode(text.encode()).decode() for text in texts)
    command = [require("node"), "--input-type=module", "--eval", READER]
    found = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr
    return [b64decode(line).decode() for line in found.stdout.split()]
