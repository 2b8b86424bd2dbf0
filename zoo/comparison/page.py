"""One self-contained HTML page."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.figures import INK, PAPER
from zoo.comparison.render import headings
from zoo.comparison.table import Row, Table
from zoo.record import Record

_CSS = """
:root{color-scheme:light dark;--ink:#1c2024;--dim:#60656c;--line:#e2e4e8;--paper:#fff;--soft:#f6f7f9;--accent:#0072b2}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--dim:#9aa0a6;--line:#33373c;--paper:#15181b;--soft:#1d2125;--accent:#56b4e9}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,sans-serif}
main{max-width:1480px;margin:0 auto;padding:40px 24px 80px}h1{font-size:30px;margin:0 0 4px;letter-spacing:-.02em}
h2{font-size:19px;margin:44px 0 10px}p.lead{color:var(--dim);margin:0 0 8px;max-width:80ch}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px}table{border-collapse:collapse;width:100%;font-size:13px}
.scroll::-webkit-scrollbar{height:11px}.scroll::-webkit-scrollbar-thumb{background:var(--dim);border-radius:6px}
th,td{padding:6px 7px;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
th{background:var(--soft);font-weight:600;font-size:12.5px;cursor:pointer;user-select:none;position:sticky;top:0}
th:hover,th:focus-visible{color:var(--accent)}th[aria-sort]{color:var(--accent);box-shadow:inset 0 -2px var(--accent)}
th{white-space:normal}td:first-child{white-space:normal;min-width:22ch}
th:first-child,td:first-child{position:sticky;left:0;z-index:1}td:first-child{background:var(--paper)}td[title]{cursor:help}td{border-top:1px solid var(--line)}tr:hover td{background:var(--soft)}
th:nth-child(-n+2),td:nth-child(-n+2),th:last-child,td:last-child{text-align:left}
td:first-child{font-weight:600}td:nth-child(2){color:var(--dim)}td.best{font-weight:700;color:var(--accent)}
tr.floor td{color:var(--dim);font-weight:400;font-style:italic}ul.notes{color:var(--dim);font-size:13px;padding-left:18px}
figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:8px;width:fit-content;max-width:100%}
figure.pixels{background:#fff}figure img,figure svg{display:block;max-width:100%;height:auto}
details{border-top:1px solid var(--line);padding:8px 0}summary{cursor:pointer}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);
padding:12px;border-radius:6px;font-size:12px}dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px}
dt{font-weight:600}dd{margin:0;color:var(--dim)}
article{border-top:1px solid var(--line);padding:14px 0 18px}article h3{margin:0 0 6px;font-size:16px}
.verdict{display:inline-block;padding:1px 9px;border-radius:9px;font-size:12px;font-weight:600;color:#fff;background:#8a6d00;margin-left:8px}
.verdict.supported{background:#00795a}.verdict.not{background:#b0382c}article p{margin:4px 0;max-width:100ch}
article .beside,article .test{color:var(--dim);font-size:13px}article details{border:0;padding:4px 0;font-size:13px}
td.text{white-space:normal;text-align:left;min-width:20ch}
nav{display:flex;flex-wrap:wrap;gap:2px 18px;font-size:13px;margin:10px 0 0}a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
td a{font-weight:600}
"""

_SCRIPT = """
document.querySelectorAll('table').forEach(t=>t.querySelectorAll('th').forEach((h,i)=>{const sort=()=>{
const b=t.tBodies[0],up=h.getAttribute('aria-sort')!=='ascending';t.querySelectorAll('th').forEach(x=>x.removeAttribute('aria-sort'));
h.setAttribute('aria-sort',up?'ascending':'descending');
const key=r=>{const c=r.cells[i],v=c.dataset.value;return v===undefined?c.textContent:v===''?null:parseFloat(v)};
[...b.rows].filter(r=>!r.classList.contains('floor')).sort((p,q)=>{const a=key(p),c=key(q);if(a===null)return 1;if(c===null)return -1;
const o=typeof a==='number'?a-c:a.localeCompare(c);return up?o:-o}).forEach(r=>b.insertBefore(r,b.querySelector('.floor')))};
h.addEventListener('click',sort);h.addEventListener('keydown',e=>{if(e.key==='Enter')sort()})}));
document.addEventListener('toggle',e=>{const p=e.target.querySelector('pre');
try{p.textContent=JSON.stringify(JSON.parse(p.textContent),null,1)}catch{}},true);
"""

_FIGURES = {
    "samples": (
        "Samples",
        "The first samples of every model, drawn with the protocol's seed, beside real test data.",
    ),
    "densities": (
        "Densities",
        "The data's histogram, then every model's density on the same scale; below each its divergence, "
        "NLL - entropy, in nats. Of several configurations of a model it is the nearest one.",
    ),
    "speed_vs_quality": (
        "Speed against quality",
        "Towards the lower left is better: fast and close to real data.",
    ),
    "sampling_vs_batch": (
        "Sampling against batch",
        "Seconds of one call (the latency at batch 1), and how many passes of a network wait for one another in it: "
        "medians over seeds, of the configuration that stands for each model.",
    ),
    "curves": (
        "Learning curves",
        "Likelihoods share an axis; other criteria cannot, so each has its own. "
        "Of very many runs, one of each configuration or model is drawn.",
    ),
    "clock": (
        "Against the clock",
        "Runs with a budget of seconds: likelihood against time spent in updates.",
    ),
}

_KINDS = {
    "plain": "exact: the log-likelihood is computed without approximation.",
    "†": "exact for the dequantised density, whose noise makes it a bound for the integer pixels.",
    "≤": "bound: the true value is at most this (a VAE's evidence bound).",
    "≈": "estimate: an ODE solver at a tolerance, or a stochastic or truncated trace, stands between.",
    "—": "none: the family defines no likelihood, or the metric does not apply; the notes say why.",
}


def build(
    runs: Sequence[Run],
    tables: Sequence[Table],
    figures: dict[str, Path],
    claims: tuple[str, str] = ("", ""),
) -> str:
    """The page as text; pictures are inside it, nothing is fetched. ``claims``: their verdicts and what these
    are by."""
    models = sorted({run.record.model for run in runs})
    verdicts, articles = claims
    sections = [verdicts, *(_table(table) for table in tables)]
    for name, (title, lead) in _FIGURES.items():
        if name in figures:
            picture = _picture(figures[name], title)
            sections.append(f'<h2 id="{name}">{title}</h2><p class="lead">{lead}</p>{picture}')
    sections += [articles, _failures(runs)]
    kinds = "".join(f"<dt>{mark}</dt><dd>{text}</dd>" for mark, text in _KINDS.items())
    sections.append(f"<h2 id=kinds>How to read it</h2><dl>{kinds}</dl>")
    sections.append("<h2 id=provenance>Provenance</h2>" + _provenance(runs))
    protocols = {run.record.provenance.get("protocol_hash") for run in runs}
    count = "one protocol" if len(protocols) == 1 else f"{len(protocols)} settings of the protocol"
    lead = (
        f'<p class="lead">{len(runs)} runs of {len(models)} models, each trained by its own rule and judged by '
        f"{count}. Click a heading to sort.</p>"
    )
    links = {"verdicts": "The lecture's claims"} if verdicts else {}
    links |= {_anchor(table): table.title for table in tables if not table.beside}
    links |= {name: title for name, (title, _) in _FIGURES.items() if name in figures}
    links |= {"kinds": "How to read it", "provenance": "Provenance"}
    nav = "".join(f'<a href="#{name}">{html.escape(title)}</a>' for name, title in links.items())
    return shell("Generative models, compared", f"{lead}<nav>{nav}</nav>" + "".join(sections))


def _anchor(table: Table) -> str:
    """A table's title as what a link can name."""
    return re.sub(r"[^\w-]+", "-", table.title).strip("-")


def shell(title: str, body: str) -> str:
    """A whole page that fetches nothing."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>zoo: {html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_CSS}</style></head><body><main><h1>{html.escape(title)}</h1>{body}"
        f"</main><script>{_SCRIPT}</script></body></html>\n"
    )


def pictures(figures: Mapping[str, Path]) -> dict[str, str]:
    """Figures by name, as HTML."""
    return {name: _picture(file, name) for name, file in figures.items()}


def _picture(png: Path, title: str) -> str:
    """A drawing as SVG in the page's own colours, a photograph as it is."""
    svg = png.with_suffix(".svg")
    if not svg.exists():
        data = base64.b64encode(png.read_bytes()).decode()
        return f'<figure class=pixels><img alt="{title}" src="data:image/png;base64,{data}"></figure>'
    text = svg.read_text()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace(INK, "var(--ink)").replace(PAPER, "var(--paper)")
    return f'<figure role=img aria-label="{title}">{text}</figure>'


def _failures(runs: Sequence[Run]) -> str:
    failed = [run.record for run in runs if run.record.status != "finished"]
    if not failed:
        return ""
    items = "".join(
        f"<dt>{html.escape(r.run_id)}</dt><dd>{r.status}: {html.escape(r.reason or 'no reason was recorded')}</dd>"
        for r in failed
    )
    return f"<h2>Failures</h2><dl>{items}</dl>"


def _origin(run: Run) -> str:
    """Where a run comes from, on one line for a tooltip; machine and versions stand in the provenance."""
    record, provenance = run.record, run.record.provenance
    facts = [f"seed {record.seed}", record.status]
    if config := provenance.get("config_hash"):
        facts.append(f"config {str(config)[:10]}")
    if commit := provenance.get("git_commit"):
        facts.append(f"commit {str(commit)[:10]}")
    if command := provenance.get("command") or provenance.get("overrides"):
        facts.append(command if isinstance(command, str) else " ".join(map(str, command)))
    return " · ".join(facts)


def _table(table: Table) -> str:
    head = "".join(f"<th tabindex=0>{html.escape(h)}</th>" for h in headings(table))
    body = "".join(_row(row) for row in table.rows)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return (
        f'<h2 id="{_anchor(table)}">{html.escape(table.title)}</h2><div class=scroll>'
        f"<table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div><ul class=notes>{notes}</ul>"
    )


def _row(row: Row) -> str:
    origin = html.escape("\n".join(_origin(run) for run in row.runs), quote=True)
    origin = f' title="{origin}"' if origin else ""
    cells = [f"<td{origin}>{html.escape(row.name)}</td><td>{html.escape(row.family)}</td>"]
    for cell in row.cells:
        best = " class=best" if cell.best else ""
        value = "" if cell.value is None else repr(cell.value)
        known = f' data-value="{value}"' if cell.kind or cell.text in ("—", "") else ""
        note = f' title="{html.escape(cell.note, quote=True)}"' if cell.note else ""
        cells.append(f"<td{best}{known}{note}>{html.escape(cell.shown)}</td>")
    floor = "" if row.runs else " class=floor"
    return f"<tr{floor}>{''.join(cells)}</tr>"


def _provenance(runs: Sequence[Run]) -> str:
    """What all runs share, once, then what each has of its own."""
    facts = [_facts(run.record) for run in runs]
    common = _common(facts) if len(runs) > 1 else {}
    parts = [_details(f"shared by all {len(runs)} runs", common)] if common else []
    for run, own in zip(runs, facts, strict=True):
        record = run.record
        reason = f" — {record.reason}" if record.reason else ""
        name = f"{record.run_id} · seed {record.seed} · {record.status}{reason}"
        parts.append(_details(name, _without(own, common)))
    return "".join(parts)


def _facts(record: Record) -> dict[str, Any]:
    facts = {k: v for k, v in record.provenance.items() if k != "config"}
    facts |= {"config": record.provenance.get("config"), "cost": record.cost, "sampling": record.sampling}
    return facts


def _common(trees: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The part of nested dictionaries that is the same in all."""
    found = {}
    for key, value in trees[0].items():
        others = [tree.get(key) for tree in trees[1:]]
        if isinstance(value, dict) and all(isinstance(other, dict) for other in others):
            if shared := _common([value, *others]):  # type: ignore[list-item]
                found[key] = shared
        elif all(key in tree for tree in trees) and all(other == value for other in others):
            found[key] = value
    return found


def _without(tree: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """What is left of a nested dictionary without its common part."""
    found = {}
    for key, value in tree.items():
        if key not in common:
            found[key] = value
        elif isinstance(value, dict) and (rest := _without(value, common[key])):
            found[key] = rest
    return found


def _details(name: str, facts: dict[str, Any]) -> str:
    text = html.escape(json.dumps(facts, default=str), quote=False)  # indented when it is opened
    return f"<details><summary>{html.escape(name)}</summary><pre>{text}</pre></details>"
