"""Draws a training log as SVG; `python -m demo.figures` writes demo/curves.svg."""

from __future__ import annotations

import math

WIDTH, HEIGHT, MARGIN = 720, 360, 56
LOW, HIGH = 0.02, 5.0
COLOURS = {
    "demo": "#0f766e",
    "draft": "#b45309",
    "pirate": "#7c3aed",
    "json-only": "#1d4ed8",
    "terse": "#be123c",
}


def _y(loss: float) -> float:
    share = math.log(loss / LOW) / math.log(HIGH / LOW)
    return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)


def _line(points: list[tuple[float, float]], colour: str) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{joined}"/>'


def draw(log: list[dict[str, float | str]]) -> str:
    """Loss (log scale) over the share of each phase's steps."""
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for loss in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0):
        out.append(
            f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{_y(loss):.1f}"'
            f' y2="{_y(loss):.1f}" stroke="#e5e7eb"/>'
        )
        out.append(f'<text x="{MARGIN - 8}" y="{_y(loss) + 4:.1f}" text-anchor="end">{loss}</text>')
    for idx, (phase, colour) in enumerate(COLOURS.items()):
        points = [(float(p["step"]), float(p["loss"])) for p in log if p["phase"] == phase]
        last = max(step for step, _ in points)
        scaled = [
            (MARGIN + step / last * (WIDTH - 2 * MARGIN), _y(min(HIGH, max(LOW, loss))))
            for step, loss in points
        ]
        out.append(_line(scaled, colour))
        out.append(
            f'<text x="{WIDTH - MARGIN - 150}" y="{MARGIN + 16 * idx}" fill="{colour}">'
            f"{phase}: {last:.0f} steps</text>"
        )
    out.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 16}" text-anchor="middle">'
        "share of the steps of each phase; loss in nats; "
        "prompts of the models weigh 0.1, less as the rate falls</text>"
    )
    return "\n".join([*out, "</svg>", ""])
