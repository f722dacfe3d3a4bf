"""The commands `eval` and `calibrate`: open the parts, measure or fit, and print tables."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Column, Table

from pipeline import backtest, engines, evaluate, measure, replay, report
from pipeline import calibrate as fitting
from pipeline.confidence import Calibration, load_calibration
from pipeline.console import PassedOver, err, json_line, opened_record, plain, writable
from pipeline.dataset import headline, read_dataset
from pipeline.errors import Rejected
from pipeline.evaluate import Difference, Outcome
from pipeline.settings import Settings
from schemas import Engine, Signals

COMPARED = tuple(name for name in report.MEANING if name not in {"cases", "with_relevant"})


async def evaluate_dataset(
    settings: Settings, dataset: Path, against: Path | None, html: Path | None, save: Path | None, out: Console, *,
    as_json: bool, engine: Engine = "nearest", model: str | None = None, prompt: Path | None = None,
) -> None:  # fmt: skip
    """Measure, print, and write what was asked for. Raises `Rejected` for a file that cannot be read, or written.

    A file of a folder ``incidents`` that cannot be read is passed over, as `incidents load` does.
    With the ``engine`` llm, the model (LLM_MODEL, or ``model``) decides the same cases after the rule, by ``prompt``
    where one is named; and what it made of them is saved, and compared with another run.
    """
    passed_over = PassedOver()
    incidents, cases = read_dataset(dataset, passed_over, _note)
    told = headline(cases)
    # What is named wrongly is said before minutes of measuring.
    theirs = None if against is None else measure.read_other(against, told)
    for file in filter(None, (html, save)):
        writable(file)
    asks_model = engine == "llm" or model is not None or prompt is not None
    if asks_model:
        engines.named(settings, model)
    if prompt is not None:
        replay.prompt_of(prompt)
    with err.status(f"asking {len(cases)} queries of {len(incidents)} incidents …"):
        outcomes = await measure.outcomes(settings, incidents, cases)
    ids = {case.id for case in told}
    chosen = [outcome for outcome in outcomes if outcome.case.id in ids]
    figures = evaluate.figures(chosen)
    variants = dict.fromkeys(outcome.case.variant for outcome in outcomes if outcome.case.variant)
    by_variant = {name: evaluate.figures([o for o in outcomes if o.case.variant == name]) for name in variants}
    table = Table("figure", "all", *(Column(plain(name)) for name in variants), "meaning",
                  title=plain(f"{dataset}: {len(incidents)} incidents"))  # fmt: skip
    for name, meaning in report.MEANING.items():
        table.add_row(name, *(report.shown(column[name]) for column in (figures, *by_variant.values())), meaning)
    out.print(table)
    title, measured, drawn, beside = f"PulseGuard on {dataset.name}", chosen, (figures, by_variant), {}
    if asks_model:
        with err.status("asking the model the same …"):
            decided = await engines.by_model(settings, chosen, model, prompt)
        measured, beside = decided.outcomes, _beside(chosen, decided, out)
        title, drawn = f"{title}, decided by {decided.model}", (evaluate.figures(measured), {})
    compared = {}
    if theirs is not None:
        # A calibration judges what the search found, whoever decides.
        ours = chosen if isinstance(theirs, Calibration) else measured
        compared = evaluate.differences(*measure.other(ours, theirs, settings), COMPARED)
        out.print(_comparison(compared))
    if html is not None:
        html.write_text(report.page(title, *drawn, measured, compared), encoding="utf-8")
    if save is not None:
        save.write_bytes(msgspec.json.encode(measured))
    if as_json:
        parts = {"by_variant": by_variant} | ({"against": compared} if compared else {}) | beside
        sys.stdout.write(json_line(figures | parts))
    passed_over.settle()


async def calibrate(
    settings: Settings, datasets: Sequence[Path], write: Path, out: Console, history: Path | None = None
) -> None:  # fmt: skip
    """Fit, compare on held-out folds, write. Raises `Rejected` where there is too little to fit on.

    Anew on the ``datasets``; else what is in force moves, by the ``history`` of a team's incidents or by its verdicts.
    """
    writable(write)
    unjudged: Sequence[Signals] = ()
    if datasets and history is not None:
        raise Rejected("--dataset fits anew, --history moves what is in force: one of them")
    if datasets:
        said = ", ".join(map(str, datasets))
        with err.status("asking each dataset in all ways …"):
            samples = await measure.samples(settings, datasets, _note)
    elif history is not None:
        said = str(history)
        with err.status("asking about each incident with the earlier ones …"):
            samples = await backtest.samples(settings, history)
    else:
        said = "feedback"
        samples, unjudged = await _feedback()
    now = load_calibration(settings.calibration_file)
    with err.status("fitting …"):
        calibration, sure = fitting.fit(samples, said, now, unjudged), fitting.held_out(samples, now, unjudged)
        compared, held = fitting.compare(samples, now, sure), fitting.by_dataset(samples, sure)
    table = Table("on held-out folds", "in force", "new", title=plain(f"{len(samples)} samples of {said}"))
    for name in ("brier", "ece", "auroc"):
        pair = (getattr(compared, f"{name}_now"), getattr(compared, f"{name}_new"))
        table.add_row(name, *map(report.shown, pair))
    out.print(table)
    if held:
        out.print(_by_dataset(held))
    write.write_bytes(msgspec.json.format(msgspec.json.encode(calibration), indent=2) + b"\n")
    verdict = "better" if compared.better else "not clearly better: keep what is in force"
    low, high = compared.gain
    out.print(f"The new one takes {low:+.4f} … {high:+.4f} off the Brier score (95 % interval): it is {verdict}.")
    out.print(plain(f"Written to {write}. CALIBRATION_FILE={write} puts it in force."), soft_wrap=True)


def _note(said: str) -> None:
    err.print("[yellow]note[/]", plain(said), soft_wrap=True)


def _beside(by_rule: Sequence[Outcome], decided: engines.Decided, out: Console) -> dict[str, Any]:
    """Both engines side by side, printed; and the same for `--json`."""
    compared = evaluate.differences(by_rule, decided.outcomes, COMPARED)
    out.print(_comparison(compared, "the rule", decided.model))
    out.print(replay.figures(decided.effort))
    figures = evaluate.figures(decided.outcomes)
    return {"llm": {"decided_by": decided.model, "figures": figures, "compared": compared, **decided.effort}}


def _by_dataset(held: Mapping[str, Mapping[str, float | None]]) -> Table:
    columns = list(next(iter(held.values())))
    table = Table("dataset", *columns, title="the new one, fitted without the incidents that it is asked for")
    for name, figures in held.items():
        table.add_row(plain(name), *(report.shown(figures[column]) for column in columns))
    return table


async def _feedback() -> tuple[list[fitting.Sample], list[Signals]]:
    """What verdicts say, and the signals of as many of the newest escalations, the newest of each fingerprint."""
    async with opened_record() as record:
        judged = await record.judged_decisions()
        samples = fitting.samples_of_feedback(judged)
        asked = await record.decisions(limit=max(len(samples), 1), verdict="escalate")
    known = {decision.id for decision, _ in judged}
    unjudged = {one.fingerprint: one.signals for one in reversed(asked) if one.id not in known}
    return samples, list(unjudged.values())


def _comparison(compared: Mapping[str, Difference], one: str = "this one", other: str = "the other") -> Table:
    said = (one, other, f"95 % interval of the gain of {other}")
    table = Table("figure", *(Column(plain(text)) for text in said))
    for name, found in compared.items():
        table.add_row(name, report.shown(found.before), report.shown(found.after), report.span(found))
    return table
