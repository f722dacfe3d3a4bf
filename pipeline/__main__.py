"""The command line. Each command imports what it needs: half of the parts take seconds, and `--help` none."""

import asyncio
import resource
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from pipeline import VERSION, endpoints, kafka, logs, settings
from pipeline.confidence import percent
from pipeline.console import PAGE, completed, err, harmless, json_line, opened_record, out, plain, run_async, typed
from pipeline.dlq import dlq_cli
from pipeline.errors import PulseGuardError
from pipeline.incidents import incidents_cli
from pipeline.settings import ROLES, Settings
from pipeline.silences import silence_cli
from pipeline.times import moment
from schemas import Decision, Engine, Explanation

cli = typer.Typer(name="pulseguard", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
cli.add_typer(incidents_cli, name="incidents")
cli.add_typer(dlq_cli, name="dlq")
cli.add_typer(silence_cli, name="silence")


def _tell_version(wanted: bool) -> None:  # noqa: FBT001 - the option
    if not wanted:
        return
    try:
        said = version("pulseguard")
    except PackageNotFoundError:
        said = VERSION
    sys.stdout.write(f"pulseguard {said}\n")
    raise typer.Exit


@cli.callback()
def options(
    *,
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Which one it is.")
    ] = False,
) -> None:
    """PulseGuard: publish an anomaly to Kafka; get what it is, what worked last time, and how far to trust that."""


@cli.command()
def up(
    demo_run: Annotated[bool, typer.Option("--demo", help="Also send a realistic mixed scenario.")] = False,  # noqa: FBT002
) -> None:
    """Start everything, on embedded parts where the environment names none, and show decisions as they come."""
    current = settings.read()
    err.print("starting; the first time takes longest …")
    from pipeline import app, demo

    def say(said: str) -> None:
        err.print(plain(said), soft_wrap=True)

    async def ready(running: Settings) -> None:
        _print_endpoints(running)
        _background.add(asyncio.create_task(_show_decisions(running)))
        if demo_run:
            _background.add(asyncio.create_task(demo.play(running, say)))

    run_async(app.up(current, ready))


@cli.command()
def run(roles: Annotated[list[str], typer.Argument(help=f"Any of: {', '.join(ROLES)}.")]) -> None:
    """Start some roles of a fleet. Kafka and PostgreSQL must be named, or a `pulseguard up` be running here."""
    unknown = sorted(set(roles) - set(ROLES))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: not a role; choose from {', '.join(ROLES)}")
    from pipeline import app

    async def ready(_: Settings) -> None:
        err.print(f"ready: {', '.join(roles)}")

    run_async(app.run(settings.required(completed()), roles, ready))


@cli.command()
def send(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON Lines, one JSON object, or a JSON list.")],
) -> None:
    """Publish anomalies and wait until Kafka has acknowledged each one. If any line is not JSON, none is published."""
    from pipeline.send import json_values, keyed
    from pipeline.stages.fingerprints import load_fingerprints

    text = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    values = json_values(text)
    current = settings.required_kafka(completed())
    records = keyed(values, current, load_fingerprints(current.fingerprints_file))

    async def publish() -> None:
        await kafka.check(current, 5)  # names the variable where it does not answer
        sender = kafka.Sender(current)
        try:
            for start in track(range(0, len(records), 1000), "sending", console=err, disable=not err.is_terminal):
                some = records[start : start + 1000]
                await asyncio.gather(*(sender.send(current.topic_anomalies, key, value) for key, value in some))
        finally:
            await sender.close()

    run_async(publish())
    out.print(f"{len(values)} sent")
    refused = sum(key is None for key, _ in records)
    if refused:
        said = f"{refused} of these will have no decision, being no anomaly: `{typed('dlq list')}` says why"
        err.print("[yellow]note[/]", plain(said), soft_wrap=True)


@cli.command()
def storm(
    file: Annotated[Path, typer.Argument(help="Alerts with their true groups, as JSON Lines.")],
    clusters: Annotated[int, typer.Option(min=0, help="As if from so few clusters, which is harder; 0: as it is.")] = 0,
    seed: Annotated[int, typer.Option(help="Which clusters then fall together.")] = 0,
    topology: Annotated[Path | None, typer.Option(help="Which service depends on which; else TOPOLOGY_FILE.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,  # noqa: FBT002
) -> None:
    """Say how well a labelled stream of alerts is grouped, and its roots are found, beside simple rules."""
    from pipeline import app
    from pipeline import storm as judge

    current = settings.read()
    if topology:
        current = replace(current, topology_file=topology)
    alerts = judge.read_alerts(file)
    if clusters:
        alerts = judge.crowded(alerts, clusters, seed)
    figures = judge.report(alerts, *app.grouping_of(current))
    if as_json:
        sys.stdout.write(json_line(figures))
        return
    table = Table("what", "figure")
    for name, figure in figures.items():
        table.add_row(name.replace("_", " "), f"{figure:.3f}" if isinstance(figure, float) else str(figure))
    out.print(table)


@cli.command("eval")
def eval_command(
    dataset: Annotated[Path, typer.Option(help="A folder of incidents.jsonl and queries.jsonl.")],
    against: Annotated[
        Path | None, typer.Option(help="Compare with this, side by side: what --save wrote, or a calibration.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with two charts here.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write what came of each query here, for --against.")] = None,
    engine: Annotated[Engine, typer.Option(help="llm: a model decides the same cases, and is compared.")] = "nearest",
    model: Annotated[str | None, typer.Option(help="A litellm name; else LLM_MODEL. Means --engine llm.")] = None,
    prompt: Annotated[Path | None, typer.Option(help="A file: the system prompt to try. Likewise.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,  # noqa: FBT002
) -> None:
    """Measure retrieval and confidence on a dataset: no broker, no PostgreSQL, an index of its own."""
    from pipeline import judge

    work = judge.evaluate_dataset(
        settings.read(), dataset, against, html, save, out,
        as_json=as_json, engine=engine, model=model, prompt=prompt,
    )  # fmt: skip
    run_async(work)


@cli.command("backtest")
def backtest_command(
    history: Annotated[Path, typer.Argument(help="Your past incidents: whatever `incidents load` reads.")],
    model: Annotated[str | None, typer.Option(help="A litellm name, or nearest for the rule; else LLM_MODEL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,  # noqa: FBT002
) -> None:
    """Replay your own past incidents in their order, only the earlier ones known, and say what had been advised."""
    from pipeline import backtest

    run_async(backtest.report(settings.read(), history, model, out, as_json=as_json))


@cli.command()
def calibrate(
    write: Annotated[Path, typer.Option(help="Where to write the new calibration.")],
    dataset: Annotated[list[Path] | None, typer.Option(help="Fit on these datasets, not on feedback.")] = None,
    history: Annotated[Path | None, typer.Option(help="Fit on your past incidents, as `backtest` asks them.")] = None,
) -> None:
    """Fit the confidence on feedback, and say whether it is better on what it was not fitted on."""
    from pipeline import judge

    run_async(judge.calibrate(completed(), dataset or [], write, out, history))


@cli.command()
def stats(
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,  # noqa: FBT002
) -> None:
    """What was received, decided and notified, of what is still on record."""

    async def read() -> dict[str, Any]:
        async with opened_record() as record:
            return await record.stats()

    found = run_async(read())
    if as_json:
        sys.stdout.write(json_line(found))
        return
    table = Table(show_header=False)
    for name, value in found.items():
        is_share = name == "judged_confidence" and value is not None
        table.add_row(name.replace("_", " "), percent(value) if is_share else figure(value))
    out.print(table)


def figure(value: Any) -> str:
    """One of the statistics: a count, milliseconds, or counts by name."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {count:,}" for name, count in value.items()) or "-"
    if value is None:
        return "-"
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


@cli.command("explain")
def explain_command(
    decision_id: Annotated[str, typer.Argument(metavar="ID", help="A decision's id: dec_…")],
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,  # noqa: FBT002
) -> None:
    """All that a decision came of: anomaly, evidence, prompt, raw answers, confidence, timings."""
    from pipeline import explain

    async def read() -> Explanation:
        async with opened_record() as record:
            return await explain.explained(record, decision_id)

    explanation = run_async(read())
    if as_json:
        sys.stdout.write(json_line(explanation))
    else:
        out.print(explain.shown(explanation), width=min(out.width, PAGE))


@cli.command("replay")
def replay_command(
    since: Annotated[str, typer.Option(help="A time, or a span until now: 24h, 7d.")],
    until: Annotated[str | None, typer.Option(help="Likewise; without, now.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100,
    model: Annotated[str | None, typer.Option(help="A litellm name, or nearest for the rule; else LLM_MODEL.")] = None,
    prompt: Annotated[Path | None, typer.Option(help="A file: the system prompt to try.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Search today's knowledge, not the evidence of then.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,  # noqa: FBT002
) -> None:
    """Decide past episodes again, under today's settings. Publishes and writes nothing; says what would change."""
    from pipeline import replay

    now = datetime.now(UTC)
    ends = None if until is None else moment(until, now)
    wanted = replay.Wanted(moment(since, now), ends, limit, model, prompt, fresh)

    async def work() -> None:
        async with opened_record() as record:
            await replay.report(completed(), record, wanted, out, as_json=as_json)

    run_async(work())


@cli.command()
def env() -> None:
    """The endpoints of the running `up` (or of the environment) as KEY=VALUE."""
    current = settings.read()
    lines = endpoints.known(current)
    for key, value in lines.items():
        sys.stdout.write(f"{key}={value}\n")
    if not all(lines.values()):
        err.print(f"[yellow]note[/] {escape(settings.idle(current))}: what is empty is not named", soft_wrap=True)


_STATES = {True: "[green]ok[/]", False: "[red]fails[/]", None: "[yellow]off[/]"}


@cli.command("doctor")
def doctor_command() -> None:
    """Check each configured part; where one fails, name the variable and the mend. Say which roles run, too."""
    from pipeline import doctor

    table = Table("part", "state", "detail")
    with err.status("asking each part …"):  # one that does not answer is waited for
        checks = run_async(doctor.examine(completed()))
    for check in checks:
        table.add_row(check.part, _STATES[check.healthy], plain(check.detail))
    out.print(table)
    if any(check.healthy is False for check in checks):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; an error we know is one line and exit code 2, never a traceback."""
    _open_as_many_files_as_allowed()
    try:
        logs.configure(settings.read())
        for name, meant in settings.misspelt():
            err.print("[yellow]note[/]", plain(f"{name} is no setting: is {meant} meant?"), soft_wrap=True)
        cli()
    except PulseGuardError as exc:
        _refuse(str(exc))
    except OSError as exc:
        _refuse(f"{exc.filename}: {exc.strerror}" if exc.filename and exc.strerror else str(exc))


def _open_as_many_files_as_allowed() -> None:
    """Each client of the relay is one. The limit that holds at first, often 1,024, is for programs with select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # where no number is the most
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _refuse(reason: str) -> NoReturn:
    err.print(f"[red]error[/] {escape(harmless(reason))}", highlight=False, soft_wrap=True)
    sys.exit(2)


_background: set[asyncio.Task[None]] = set()


def _print_endpoints(running: Settings) -> None:
    table = Table("part", "where", title="PulseGuard is ready")
    lines = endpoints.as_lines(running)
    embedded = " (embedded)" if running.kafka_is_embedded else ""
    table.add_row("Kafka", plain(f"{lines['KAFKA_BOOTSTRAP_SERVERS']}{embedded}"))
    table.add_row("PostgreSQL", plain(f"see `{typed('env')}`"))  # it holds a password, and 80 columns hold no URL
    table.add_row("dashboard, API", f"{lines['HTTP_URL']}/  {lines['HTTP_URL']}/docs")
    table.add_row("live feed", lines["RELAY_URL"])
    table.add_row("model", plain(running.llm_model or "none: the nearest-incident rule decides"))
    slack = "configured" if running.slack_webhook_url or running.slack_bot_token else "none: shown in the log"
    table.add_row("Slack", "silent: SHADOW is set" if running.shadow else slack)
    out.print(table)
    if running.kafka_is_embedded:
        out.print(
            "The embedded broker keeps its topics in memory and never trims them: for trying out, not for keeping."
        )
    sys.stdout.flush()


async def _show_decisions(running: Settings) -> None:
    decoder = msgspec.json.Decoder(Decision)
    async with kafka.tail(running, [running.topic_decisions], backlog=0) as batches:
        async for batch in batches:
            for message in batch:
                with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # anybody may write there
                    text = decision_line(decoder.decode(message.value or b""))
                    out.print(text, markup=False, highlight=False, soft_wrap=True)
                    sys.stdout.flush()


def decision_line(decision: Decision) -> str:
    """A decision as the console shows it; a later one of an episode says so, and how many it has by now."""
    again = f"again, {decision.occurrences:,} seen: " if decision.revision > 1 else ""
    shadow = ", shadow" if decision.shadow else ""
    return harmless(
        f"{decision.created_at:%H:%M:%S}  {again}{decision.symptom}\n          "
        f"→ {decision.recommended_action}  ({decision.verdict}, {percent(decision.confidence_score)}, "
        f"{decision.engine}, {decision.latency_ms:.0f} ms, {decision.id}{shadow})"
    )


if __name__ == "__main__":
    main()
