"""Faults of the model: each anomaly gets its decision, the rule's where the model gave none in time."""

import asyncio
import json
from typing import Any

from aiohttp import web

from tests import model_server as played
from tests.chaos.load import distinct
from tests.chaos.rig import Rig
from tests.chaos.scenarios import scenario

TIMEOUT = 4.0


@scenario()
async def model_limits(rig: Rig) -> None:
    """The model answers 429 with Retry-After to every other request; it is asked again when it said."""
    await _misbehaving(rig, _every_other(played.with_status(429, "1")), fails=False)


@scenario()
async def model_fails(rig: Rig) -> None:
    """The model answers 500 to every other request."""
    await _misbehaving(rig, _every_other(played.with_status(500)))


@scenario()
async def model_talks_garbage(rig: Rig) -> None:
    """The model answers with no JSON, with HTML, with no choices, with an action that is in no catalogue."""
    moods = (
        played.says("I would restart it."), played.body("<html>busy</html>", "text/html"), played.no_choices,
        played.changed(action="rm_rf"), played.says(None), played.body("{", "application/json"),
    )  # fmt: skip
    await _misbehaving(rig, any_of(rig, *moods))


@scenario()
async def model_cuts_answers_short(rig: Rig) -> None:
    """The model's answers end in the middle, before the length that they announced."""
    await _misbehaving(rig, truncated)


@scenario()
async def model_drips(rig: Rig) -> None:
    """The model sends one byte at a time, for ever: no read times out, and the decision's own deadline does."""
    await _misbehaving(rig, played.drip)


@scenario()
async def model_is_silent(rig: Rig) -> None:
    """The model takes the question and answers nothing at all."""
    await _misbehaving(rig, silent)


@scenario()
async def model_hangs_up(rig: Rig) -> None:
    """The model resets the connection on every question."""
    await _misbehaving(rig, played.reset)


@scenario()
async def model_does_everything(rig: Rig) -> None:
    """The model does at random all that it does wrong, while a worker is killed."""
    moods = (
        played.good, played.with_status(429, "1"), played.with_status(500), played.says("no"), truncated, played.drip,
        silent, played.reset, played.slow(1.0),
    )  # fmt: skip
    await rig.with_model(any_of(rig, *moods), limit=TIMEOUT)
    worker = await rig.worker()
    async with rig.sending(distinct(rig.chance, 300), 30):
        await rig.decisions(80)
        rig.kill(worker)
        await rig.worker()
        rig.over()


async def truncated(request: web.Request, question: dict[str, Any], _: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "2000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(json.dumps({"choices": [{"message": {"content": played.answer_for(question)}}]})[:60].encode())
    assert request.transport is not None
    request.transport.close()
    return response


async def silent(_: web.Request, __: dict[str, Any], ___: int) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


def _every_other(mood: played.Behaviour) -> played.Behaviour:
    async def behave(request: web.Request, question: dict[str, Any], count: int) -> web.StreamResponse:
        return await (mood if count % 2 else played.good)(request, question, count)

    return behave


def any_of(rig: Rig, *moods: played.Behaviour) -> played.Behaviour:
    dice = rig.dice("model")

    async def behave(request: web.Request, question: dict[str, Any], count: int) -> web.StreamResponse:
        return await dice.choice(moods)(request, question, count)

    return behave


async def _misbehaving(rig: Rig, mood: played.Behaviour, *, fails: bool = True) -> None:
    """Half of the anomalies meet the fault, the rest a model that is well again."""
    model = await rig.with_model(mood, limit=TIMEOUT)
    await rig.worker()
    count = rig.many(60, 16)
    await rig.send(distinct(rig.chance, count))
    await rig.decisions(count)
    rows = await rig.database.rows("SELECT body FROM decisions")
    decisions = [json.loads(row["body"]) for row in rows]
    plain = [decision for decision in decisions if decision["engine"] == "nearest"]
    rig.say(f"{len(model.asked)} calls; {len(plain)} of {count} decisions are the rule's")
    rig.promise(all(decision["fallback_reason"] for decision in plain), "the rule decided and did not say why")
    rig.promise(bool(plain) or not fails, "the fault hit nobody")
    slowest = max(decision["timings"]["decide"] for decision in decisions) / 1000
    rig.promise(slowest < TIMEOUT + 5, f"a decision took {slowest:.1f} s, and the model has {TIMEOUT} s")
    rig.mood = played.good
    rig.over()
    await rig.send(distinct(rig.chance, count, "well"))
    await rig.decisions(2 * count)
    told = await rig.database.value("SELECT count(*) FROM decisions WHERE engine = 'llm' AND anomaly_id LIKE 'well-%'")
    rig.promise(told == count, f"the model is well, and {count - told} decisions were not its own")
