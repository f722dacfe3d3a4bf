"""Past incidents on the command line: `pulseguard incidents`, and what of them waits for approval."""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from pipeline import settings
from pipeline.catalogue import Catalogue, load_catalogue
from pipeline.console import err, json_line, opened_index, opened_record, out, plain, run_async
from pipeline.errors import Rejected
from pipeline.knowledge import Loaded, Page, completed, insist, look_through, of_no_kind
from pipeline.llm import Llm, open_llm
from pipeline.postmortems.assisted import NO_HELP, Helped, helped, recalled, wanted_of
from pipeline.postmortems.readings import Readings
from pipeline.postmortems.rules import Filled
from pipeline.settings import Settings
from pipeline.stages.ingest import check_text
from pipeline.stages.proposals import Proposals
from schemas import Evidence, Incident

_JSON_LINES = "One JSON object a line"
_ASK = "Where LLM_MODEL is set: ask it where a page tells what rules do not find."
_NAMED = 3
"""Incidents that a note names; of the others it says how many they are."""
incidents_cli = typer.Typer(no_args_is_help=True, help="The knowledge: past incidents.")


@incidents_cli.command("load")
def incidents_load(
    path: Annotated[Path, typer.Argument(help="A file or folder: JSON, JSON Lines, YAML, CSV, Markdown, HTML, text.")],
    ask: Annotated[bool, typer.Option("--model/--no-model", help=_ASK)] = True,  # noqa: FBT002
) -> None:
    """Add past incidents, and say what could not be filled. The same ones again change nothing but what a model finds.

    A file of a folder that cannot be read is passed over; the exit code is then 1.
    """
    current = settings.read()
    files = look_through(path)
    catalogue = load_catalogue(current.actions_file)
    pages = [page for loaded in files for page in loaded.pages if wanted_of(page.fields)]
    if pages:
        files = run_async(_assisted(files, pages, current, catalogue, ask=ask))
    incidents = [incident for loaded in insist(path, files) for incident in loaded.incidents]
    _print_gaps(files, path)
    _print_faults(incidents, catalogue)

    async def load() -> int:
        async with opened_record() as record:
            return await record.upsert_incidents(incidents)

    changed = run_async(load())
    out.print(f"{len(incidents)} read, {changed} new or changed; running workers find them within seconds")
    faulty = sum(loaded.fault is not None for loaded in files)
    if faulty:
        err.print(f"[red]error[/] {faulty} of {len(files)} files could not be read: see the table above")
        raise typer.Exit(1)


@incidents_cli.command("retire")
def incidents_retire(incident_id: str) -> None:
    """Forget an incident that turned out wrong: running workers advise it no more within seconds."""

    async def retire() -> int:
        async with opened_record() as record:
            return await record.retire_incidents([incident_id])

    if not run_async(retire()):
        raise Rejected(f"no incident {incident_id}")
    out.print(plain(f"{incident_id} is retired"), soft_wrap=True)


@incidents_cli.command("list")
def incidents_list(
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help=_JSON_LINES + "; `incidents load` reads them.")] = False,  # noqa: FBT002
) -> None:
    """The incidents that were added or changed last."""

    async def read() -> list[Incident]:
        async with opened_record() as record:
            return await record.incidents(limit=limit)

    _show(run_async(read()), "no incident is known", as_json=as_json)


@incidents_cli.command("proposed")
def incidents_proposed(
    limit: Annotated[int, typer.Option(min=1, help="The oldest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help=_JSON_LINES)] = False,  # noqa: FBT002
) -> None:
    """What verdicts taught and what waits for approval (LEARN_APPROVAL)."""

    async def read() -> list[Incident]:
        async with opened_record() as record:
            return await Proposals(record).waiting(limit)

    _show(run_async(read()), "nothing is proposed", as_json=as_json)


@incidents_cli.command("approve")
def incidents_approve(incident_ids: list[str]) -> None:
    """Make knowledge of what is proposed: running workers find it within seconds."""

    async def approve() -> list[bool]:
        async with opened_record() as record:
            proposals = Proposals(record)
            return [await proposals.approve(name, lambda one: record.upsert_incidents([one])) for name in incident_ids]

    _settled(incident_ids, run_async(approve()), "is approved")


@incidents_cli.command("dismiss")
def incidents_dismiss(incident_ids: list[str]) -> None:
    """Drop what is proposed."""

    async def dismiss() -> list[bool]:
        async with opened_record() as record:
            return [await Proposals(record).drop(name) for name in incident_ids]

    _settled(incident_ids, run_async(dismiss()), "is dismissed")


@incidents_cli.command("search")
def incidents_search(
    query: str,
    limit: Annotated[int, typer.Option(min=1, max=50)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help=_JSON_LINES)] = False,  # noqa: FBT002
) -> None:
    """Find past incidents by what was seen."""
    if not query.strip():
        raise Rejected("what was seen? the query is empty")
    check_text(query)
    from pipeline.words import Query

    async def search() -> list[Evidence]:
        async with opened_index() as (index, record):
            await index.sync(record)
            return (await index.search([Query(query)], limit))[0].evidence

    found = run_async(search())
    if as_json:
        _write(found)
        return
    table = Table("score", "incident", "title", "action", "outcome")
    for hit in found:
        action = hit.action.name if hit.action else "-"
        table.add_row(f"{hit.score:.2f}", *map(plain, (hit.incident_id, hit.title, action)), hit.outcome)
    out.print(table)


@incidents_cli.command("reindex")
def incidents_reindex() -> None:
    """Build Qdrant anew from PostgreSQL. In-process copies of running workers keep themselves level."""

    async def rebuild() -> int:
        async with opened_index() as (index, record):
            return await index.rebuild(record)

    out.print(f"{run_async(rebuild())} incidents indexed")


def _show(found: list[Incident], none: str, *, as_json: bool) -> None:
    if as_json:
        _write(found)
        return
    if not found:
        err.print(none)
        return
    table = Table("incident", "title", "service", "error type", "action", "outcome")
    for incident in found:
        action = incident.action.name if incident.action else "-"
        texts = (incident.id, incident.title, incident.service or "-", incident.error_type or "-", action)
        table.add_row(*map(plain, texts), incident.outcome)
    out.print(table)


def _settled(incident_ids: list[str], known: list[bool], what: str) -> None:
    """Say what was done. Raises `Rejected` for those of which nothing is proposed."""
    for name, was in zip(incident_ids, known, strict=True):
        if was:
            out.print(plain(f"{name} {what}"), soft_wrap=True)
    missing = [name for name, was in zip(incident_ids, known, strict=True) if not was]
    if missing:
        raise Rejected(f"nothing is proposed as {', '.join(missing)}")


def _write(found: Iterable[msgspec.Struct]) -> None:
    sys.stdout.writelines(map(json_line, found))


async def _assisted(
    files: list[Loaded], pages: list[Page], current: Settings, catalogue: Catalogue, *, ask: bool
) -> list[Loaded]:  # fmt: skip
    """The files with what a model found in these of their pages, now or, where it is of no help now, before.

    What is in our own form is taken as it is: who wrote it left out what is not there.
    """
    async with opened_record() as record:
        readings = Readings(record)
        llm = await asyncio.to_thread(open_llm, current, record.cost_since) if ask else None
        answers = await _asked(llm, pages, current, catalogue, readings) if llm else [NO_HELP] * len(pages)
        left = [page.text for page, answer in zip(pages, answers, strict=True) if answer.reading is None]
        before = await readings.known(left)
    found: dict[int, Filled] = {}
    for page, answer in zip(pages, answers, strict=True):
        found[id(page)] = answer.found
        if page.text in before and answer.reading is None:
            again = recalled(before[page.text], page.text, page.fields, catalogue)
            found[id(page)] = Filled(again.fields, [*answer.found.notes, *again.notes])
    return completed(files, lambda page: found.get(id(page), Filled({}, [])))


async def _asked(
    llm: Llm, pages: list[Page], current: Settings, catalogue: Catalogue, readings: Readings
) -> list[Helped]:  # fmt: skip
    """What the model answers about each; what that took is printed."""
    turn = asyncio.Semaphore(current.llm_in_flight)  # who waits here is in no deadline yet

    async def ask(page: Page) -> Helped:
        async with turn:
            answer = await helped(llm, page.text, page.fields, catalogue, redact=current.redact)
        if answer.reading is not None:
            await readings.keep(page.text, answer.reading)
        return answer

    try:
        with err.status(f"asking the model about {len(pages)} pages …"):
            answers = await asyncio.gather(*map(ask, pages))
    finally:
        await llm.close()
    out.print(plain(_effort(answers)), soft_wrap=True)
    return answers


def _effort(answers: list[Helped]) -> str:
    names = ", ".join(sorted({answer.model for answer in answers if answer.model})) or "the model"
    answered = sum(answer.model is not None for answer in answers)
    tokens = sum(answer.usage.prompt_tokens + answer.usage.completion_tokens for answer in answers)
    costs = [answer.usage.cost_usd for answer in answers]
    cost = "at a price that is not known" if None in costs else f"for {sum(filter(None, costs)):.4f} USD"
    return f"{names} answered about {answered} of {len(answers)} pages: {tokens:,} tokens {cost}"


def _print_faults(incidents: list[Incident], catalogue: Catalogue) -> None:
    """Which of them name an action that can never be advised: each fault once, with whose it is."""
    whose: dict[str, list[str]] = {}
    for incident in incidents:
        fault = catalogue.fault(incident.action) if incident.action else None
        if fault:
            whose.setdefault(fault, []).append(incident.id)
    for fault, names in whose.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        said = f"{fault}: such an action will never be advised ({', '.join(names[:_NAMED])}{more})"
        err.print("[yellow]note[/]", plain(said), soft_wrap=True)


def _print_gaps(files: list[Loaded], path: Path) -> None:
    """What each file left open: nothing is made up for it."""
    table = Table("file", "incidents", "not filled", "notes")
    for loaded in files:
        gaps = ", ".join(loaded.unfilled())
        name = str(loaded.file.relative_to(path)) if path.is_dir() else loaded.file.name
        notes = plain("; ".join(loaded.notes))
        if loaded.fault is not None:
            notes = Text.assemble(("not read", "red"), ": ", plain(loaded.fault))
        if gaps or notes:
            table.add_row(plain(name), str(len(loaded.incidents)), gaps, notes)
    if table.row_count:
        out.print(table)
    others = of_no_kind(path)
    if others:
        err.print("[yellow]note[/]", plain(f"of no kind that is read: {', '.join(others)}"), soft_wrap=True)
