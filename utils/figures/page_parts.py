"""The parts of a page that stands alone: its frame, tables, pictures, and widths as bars. All text
is escaped; nothing is loaded from elsewhere."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

STYLE = """
:root { --ink: #1d2433; --soft: #5d6679; --line: #dfe3ea; --own: #2f6f9f; --whole: #e6eaf0; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.2rem 4rem; max-width: 68rem; color: var(--ink);
       background: #fff; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-bottom: .2rem;
     border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .2rem; }
p, li { max-width: 46rem; }
.soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; white-space: nowrap;
         border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
table.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
table.facts td:first-child { white-space: nowrap; }
th { font-weight: 600; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .9rem; }
pre { background: #f5f7fa; border: 1px solid var(--line); border-radius: 4px; padding: .7rem .9rem;
      white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; margin: .5rem 0; }
summary { cursor: pointer; color: var(--soft); margin: .6rem 0; }
svg.bars { display: block; }
svg.bars text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg.bars .whole { fill: var(--whole); }
svg.bars .own { fill: var(--own); }
"""


def document(title: str, subtitle: str, sections: Mapping[str, str]) -> str:
    """Return a whole page, with a heading for each of its ``sections``, whose texts are HTML."""
    body = "\n".join(
        f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>"
        for heading, content in sections.items()
        if content
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="soft">{escape(subtitle)}</p>\n{body}\n'
        "</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """Return a heading."""
    return f"<h3>{escape(text)}</h3>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of a ``kind`` of style."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of results; the first column is text, the others are numbers."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "\n".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n'
        "</table></div>"
    )


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Return a table of names and values."""
    body = "\n".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows
    )
    return f'<table class="facts"><tbody>\n{body}\n</tbody></table>'


def code(lines: Sequence[str]) -> str:
    """Return lines of code."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def folded(summary: str, content: str) -> str:
    """Return HTML that shows when its ``summary`` is clicked on."""
    return f"<details>\n<summary>{escape(summary)}</summary>\n{content}\n</details>"


def picture(path: Path, says: str) -> str:
    """Return a PNG, in the page itself."""
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{escape(says)}">\n'
        f"<figcaption>{escape(says)}</figcaption></figure>"
    )


def bars(widths: Sequence[int], whole: Sequence[int] | None, layers: Sequence[str] | None) -> str:
    """Return the widths of a network as bars, a layer each, before those of its template, if known.

    A bar shows its layer and its width where the pointer is on it.
    """
    step, top, high = 34, 16, 120
    highest = max([*widths, *(whole or ())])
    names = layers or [f"layer {number}" for number in range(1, len(widths) + 1)]

    parts = []
    for index, width in enumerate(widths):
        left, full = index * step + 4, whole[index] if whole else 0
        said = f"{names[index]}: {width}" + (f" of {full}" if whole else "")
        column = [f"<title>{escape(said)}</title>"]
        for kind, value in (("whole", full), ("own", width)):
            if value:
                length = max(1.0, high * value / highest)
                column.append(
                    f'<rect class="{kind}" x="{left}" y="{top + high - length:.1f}" '
                    f'width="{step - 8}" height="{length:.1f}"/>'
                )

        # the width above the bar, and the number of the layer below
        middle = left + (step - 8) / 2
        for below, text in ((top - 4, width), (top + high + 13, index + 1)):
            column.append(f'<text x="{middle:g}" y="{below}" text-anchor="middle">{text}</text>')
        parts.append(f"<g>{''.join(column)}</g>")

    wide, tall = len(widths) * step, top + high + 18
    return (
        f'<div class="wide"><svg class="bars" width="{wide}" height="{tall}" viewBox="0 0 {wide} '
        f'{tall}" role="img" aria-label="filters of each layer">{"".join(parts)}</svg></div>'
    )
