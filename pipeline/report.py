"""What `pulseguard eval` says: a table for the terminal, one page of HTML with two charts drawn as SVG."""

from collections.abc import Mapping, Sequence
from html import escape

from pipeline.evaluate import Difference, Outcome, bins, risk_coverage

SIZE, EDGE = 320, 40
_SMALL = 0.001
MEANING = {
    "cases": "queries asked",
    "with_relevant": "of these, with a relevant incident in the record",
    "recall_at_1": "a relevant incident is first",
    "recall_at_3": "… among the first three",
    "recall_at_5": "… among the first five",
    "mrr": "mean reciprocal rank of the first relevant one",
    "ndcg": "normalised discounted cumulative gain at 10",
    "action_accuracy": "the action advised is the one the dataset names; asking, where nothing is relevant",
    "escalation_precision": "of those below MIN_CONFIDENCE, the first was indeed not right",
    "escalation_recall": "of those whose first is not right, below MIN_CONFIDENCE",
    "ece": "expected calibration error of the confidence, ten bins",
    "brier": "Brier score of the confidence",
    "auroc_right": "confidence tells whether the first is right, where something is relevant",
    "auroc_match": "the probability of relevance tells whether anything is",
    "cost_usd": "model cost of a decision",
    "latency_ms_p50": "median of embedding, search and decision for one query, milliseconds",
}
_STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#17191c}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid #e3e5e8}
td.n{font-variant-numeric:tabular-nums;text-align:right}figure{display:inline-block;max-width:26rem;
vertical-align:top;margin:1rem 1rem 1rem 0}
svg text{font:12px system-ui,sans-serif;fill:#5b626b}"""


def shown(value: float | None) -> str:
    """A figure for a table; a dash where there is none."""
    if value is None:
        return "-"
    return f"{value:g}" if float(value).is_integer() or 0 < abs(value) < _SMALL else f"{value:.3f}"


def span(one: Difference) -> str:
    """The interval of a gain."""
    return "-" if one.low is None or one.high is None else f"{one.low:+.3f} … {one.high:+.3f}"


def page(
    title: str, figures: Mapping[str, float | None], by_variant: Mapping[str, Mapping[str, float | None]],
    outcomes: Sequence[Outcome], compared: Mapping[str, Difference] | None = None,
) -> str:  # fmt: skip
    """The whole page, nothing from elsewhere in it."""
    columns = ["all", *by_variant]
    held = [figures, *by_variant.values()]
    rows = "".join(
        f"<tr><td>{name}</td>"
        + "".join(f'<td class="n">{shown(column[name])}</td>' for column in held)
        + f"<td>{escape(meaning)}</td></tr>"
        for name, meaning in MEANING.items()
    )
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<table><tr><th>figure</th>{head}<th>meaning</th></tr>{rows}</table>"
        f"<figure>{_reliability(outcomes)}<figcaption>Reliability: each point is a tenth of the scale, its area the "
        "cases in it. On the line, confidence means what it says.</figcaption></figure>"
        f"<figure>{_risk(outcomes)}<figcaption>Risk and coverage: answering only the most confident share of cases "
        f"(across), this share of them is wrong (up).</figcaption></figure>{_compared(compared or {})}</body></html>\n"
    )


def _compared(compared: Mapping[str, Difference]) -> str:
    if not compared:
        return ""
    rows = "".join(
        f'<tr><td>{name}</td><td class="n">{shown(one.before)}</td><td class="n">{shown(one.after)}</td>'
        f'<td class="n">{span(one)}</td></tr>'
        for name, one in compared.items()
    )
    return (
        "<h2>Against the other</h2><table><tr><th>figure</th><th>this one</th><th>the other</th>"
        f"<th>95 % interval of the other's gain</th></tr>{rows}</table>"
    )


def _reliability(outcomes: Sequence[Outcome]) -> str:
    points = list(bins([o.trust.right for o in outcomes], [o.right for o in outcomes]))
    most = max((size for _, _, size in points), default=1)
    dots = "".join(
        f'<circle cx="{_x(said):.1f}" cy="{_y(was):.1f}" r="{2 + 10 * (size / most) ** 0.5:.1f}" fill="#1f6feb" '
        f'fill-opacity=".6"><title>{size} cases: said {said:.2f}, right {was:.2f}</title></circle>'
        for said, was, size in points
    )
    line = f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="#9aa1aa" stroke-dasharray="4"/>'
    return _chart(line + dots, "confidence", "share right")


def _risk(outcomes: Sequence[Outcome]) -> str:
    path = " ".join(f"{_x(share):.1f},{_y(wrong):.1f}" for share, wrong in risk_coverage(outcomes))
    return _chart(f'<polyline points="{path}" fill="none" stroke="#1f6feb" stroke-width="2"/>', "coverage", "risk")


def _chart(inside: str, across: str, up: str) -> str:
    ticks = "".join(
        f'<text x="{_x(t / 4):.0f}" y="{_y(0) + 16}" text-anchor="middle">{t / 4:g}</text>'
        f'<text x="{_x(0) - 6}" y="{_y(t / 4) + 4:.0f}" text-anchor="end">{t / 4:g}</text>'
        for t in range(5)
    )
    frame = f'<rect x="{_x(0)}" y="{_y(1)}" width="{SIZE}" height="{SIZE}" fill="none" stroke="#c8ccd1"/>'
    names = (
        f'<text x="{_x(0.5)}" y="{_y(0) + 34}" text-anchor="middle">{across}</text>'
        f'<text x="12" y="{_y(0.5)}" text-anchor="middle" transform="rotate(-90 12 {_y(0.5)})">{up}</text>'
    )
    side = SIZE + 2 * EDGE
    return f'<svg width="{side}" height="{side}" role="img">{frame}{ticks}{names}{inside}</svg>'


def _x(share: float) -> float:
    return EDGE + 8 + share * SIZE


def _y(share: float) -> float:
    return EDGE - 20 + (1 - share) * SIZE
