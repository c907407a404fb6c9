"""Consistency as a picture: a row per set of words, two columns per pair of members, darker where they agree."""

from __future__ import annotations

from gac_app.evaluation.consistency import ConsistencyReport
from gac_app.svg import document, text

_CELL_W, _CELL_H, _LEFT, _CHAR_W = 110, 20, 140, 7
_FULL = (0, 114, 178)  # Okabe-Ito blue; no agreement is white


def heat_map(report: ConsistencyReport) -> str:
    """An SVG document. Shares in percent."""
    pairs = [pair.members for pair in report.sets[0].pairs]
    titles = [f"{first} · {second}" for first, second in pairs]
    top = 50 + 16 * len(pairs)
    heading = "Share of words cut into the same tokens, in %"
    body = [text(8, 20, heading, size=15)]
    body += [text(8, 40 + 16 * number, f"{number + 1}: {title}") for number, title in enumerate(titles)]
    for column in range(len(pairs) * 2):
        heading = f"{column // 2 + 1} {'at start' if column % 2 else 'after a space'}"
        body.append(text(_LEFT + (column + 0.5) * _CELL_W, top, heading, anchor="middle"))
    for row, words in enumerate(report.sets):
        y = top + 10 + row * _CELL_H
        body.append(text(_LEFT - 8, y + 14, words.name, anchor="end"))
        shares = [share for pair in words.pairs for share in (pair.after_space, pair.at_start)]
        body += [_cell(_LEFT + column * _CELL_W, y, share) for column, share in enumerate(shares)]
    width = max(_LEFT + len(pairs) * 2 * _CELL_W, max(map(len, titles)) * _CHAR_W + 40, 340) + 10
    height = top + 20 + len(report.sets) * _CELL_H
    told = [f"{words.name}: {', '.join(f'{pair.after_space:.1%}' for pair in words.pairs)}" for words in report.sets]
    return document(width, height, heading, f"After a space. {'; '.join(told)}.", body)


def _cell(x: float, y: float, share: float) -> str:
    red, green, blue = (round(255 + share * (full - 255)) for full in _FULL)
    ink = "#fff" if share > 0.94 else "#000"  # at least 4.5:1 either way
    box = f'<rect x="{x}" y="{y}" width="{_CELL_W - 1}" height="{_CELL_H - 1}" fill="rgb({red},{green},{blue})"/>'
    return box + text(x + _CELL_W / 2, y + 14, f"{share:.1%}".rstrip("%"), anchor="middle", ink=ink)
