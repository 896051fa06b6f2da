"""Line charts as SVG, for values above 0; the first axis grows tenfold from mark to mark. Colours follow the reader's theme."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 72, 150, 64, 44
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1a1b18 } .title { font-weight: 600; font-size: 14px } .muted { fill: #6a6b63 }
.grid { stroke: #e2e2dc } .line { stroke-width: 2 }
.c0 { stroke: #2b54c8; fill: #2b54c8 } .c1 { stroke: #b4540a; fill: #b4540a }
.c2 { stroke: #18794e; fill: #18794e } .c3 { stroke: #7a3fb0; fill: #7a3fb0 } .ground { fill: #fafaf8 } path { fill: none !important }
@media (prefers-color-scheme: dark) {
text { fill: #ebebe5 } .muted { fill: #a2a399 } .grid { stroke: #2c2d29 } .ground { fill: #131412 } .c0 { stroke: #93b1ff; fill: #93b1ff }
.c1 { stroke: #f0a060; fill: #f0a060 } .c2 { stroke: #62cd92; fill: #62cd92 } .c3 { stroke: #c79bf2; fill: #c79bf2 } }
"""

Points = Sequence[tuple[float, float]]


def short(value: float) -> str:
    """1500000 as 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def ceiling(value: float) -> float:
    """The next number that reads well: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * (1 + 1e-9))


class Scale:
    """Where values stand in the picture."""

    def __init__(self, lines: Sequence[Points]) -> None:
        places = [math.log10(x) for points in lines for x, _ in points]
        self.low, self.high = min(places), max(places)
        self.top = ceiling(max(y for points in lines for _, y in points))

    def x(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return LEFT + (math.log10(value) - self.low) / span * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def chart(title: str, across: str, up: str, lines: Mapping[str, Points]) -> str:
    """`lines` by name. Each is drawn from 0 up, so that flat looks flat."""
    scale = Scale(list(lines.values()))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        text(16, 24, title, "title"),
        text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 8, across, "muted", "middle"),
        text(16, 46, up, "muted"),
    ]
    for step in range(5):
        value = scale.top * step / 4
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{scale.y(value):.1f}" y2="{scale.y(value):.1f}"/>')
        parts.append(text(LEFT - 8, scale.y(value) + 4, short(value) if value else "0", "muted", "end"))
    places = sorted({x for points in lines.values() for x, _ in points})
    parts += [text(scale.x(place), HEIGHT - BOTTOM + 16, short(place), "muted", "middle") for place in places]
    for number, (name, points) in enumerate(lines.items()):
        parts += line(scale, number % 4, name, points)
        parts.append(text(WIDTH - RIGHT + 30, TOP + 12 + number * 20, name))
    return "\n".join([*parts, "</svg>\n"])


def line(scale: Scale, colour: int, name: str, points: Points) -> list[str]:
    places = [(scale.x(x), scale.y(y)) for x, y in points]
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    key = TOP + 8 + colour * 20
    dots = [f'<circle class="c{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
    return [
        f'<path class="line c{colour}" d="{path}"/>',
        *dots,
        f'<path class="line c{colour}" d="M{WIDTH - RIGHT + 12} {key} h12"/>',
    ]


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
