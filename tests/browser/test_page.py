"""The pages in a real browser: decisions as they come, hostile text as text, verdicts, a narrow screen."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.browser.chromium import Page, browser, tab
from tests.guard.attacks import ATTACKS
from tests.program import open_folder, until
from tests.stack import Stack

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(browser() is None, reason="no Chromium on this machine"),
]

HOSTILE = (
    "<img src=x onerror=\"window.hacked='img'\"><script>window.hacked='script'</script>"
    "<a href=\"javascript:window.hacked='link'\">look</a>"
)


@pytest_asyncio.fixture(loop_scope="module")
async def page() -> AsyncIterator[Page]:
    async with tab() as opened:
        yield opened


async def test_a_decision_appears_while_one_looks_and_hostile_text_is_text(up: Stack, page: Page):
    """The page says it is live, shows what comes word for word, runs none of it, and has nothing to complain about."""
    await page.open(up.http)
    await page.shows("live")
    anomaly = {"error_type": "database_timeout", "service": "<b>payments</b>", "message": HOSTILE}
    await asyncio.to_thread(up.publish, json.dumps(anomaly).encode())
    await page.shows("<b>payments</b>")
    await page.shows("onerror=\"window.hacked='img'\"")
    assert await page.value("document.querySelectorAll('#list b, #list img, #list script, #list a').length") == 0
    assert await page.value("window.hacked") is None
    assert page.complaints == []


async def test_text_cannot_turn_the_line_around_or_cover_what_is_beside_it(up: Stack, page: Page):
    """Characters that are not seen are not shown, and of a pile of marks four; other alphabets stay as they are."""
    message = "ok \u202e)0.99 ecnedifnoc(\u2066 pile a" + "\u0301" * 100 + " hid\u200bden שָׁלוֹם \u0928\u093f"
    await asyncio.to_thread(up.publish, json.dumps({"error_type": "bidi", "message": message}).encode())
    await page.open(up.http)
    await page.shows("ok )0.99 ecnedifnoc( pile a" + "\u0301" * 4 + " hidden שָׁלוֹם \u0928\u093f")
    assert page.complaints == []


async def test_a_verdict_on_the_page_becomes_feedback(up: Stack, page: Page):
    """A click on accept is a row, and the button says so."""
    await asyncio.to_thread(up.publish, b'{"error_type": "disk_full", "service": "clicked"}')
    await page.open(up.http)
    await page.shows("disk_full on clicked")
    card = "[...document.querySelectorAll('#list li')].find((item) => item.innerText.includes('disk_full on clicked'))"
    await page.value(f"{card}.querySelector('button').click()")
    await page.shows("accepted")

    async def written() -> bool:
        rows = await up.rows(
            "SELECT f.verdict FROM feedback f JOIN decisions d ON d.id = f.decision_id WHERE d.service = 'clicked'"
        )
        return [row["verdict"] for row in rows] == ["accept"]

    await until(written, 30, "the verdict")
    assert page.complaints == []


async def test_the_newest_is_on_top_whatever_comes_first(up: Stack, page: Page):
    """A decision older than what the feed has brought already is put below it."""
    await asyncio.to_thread(up.publish, b'{"error_type": "cpu_saturated", "service": "newest"}')
    await page.open(up.http)
    await page.shows("cpu_saturated on newest")
    await page.value(
        "fetch('/v1/decisions?limit=1').then((answer) => answer.json()).then(([newest]) =>"
        " show({...newest, id: 'dec_old', episode_id: 'ep_old', symptom: 'an old one',"
        " created_at: '2020-01-01T00:00:00Z'}))"
    )
    shown = await page.value("[...document.querySelectorAll('#list .symptom')].map((item) => item.textContent)")
    assert "newest" in shown[0]
    assert shown[-1] == "an old one"


async def test_a_card_says_how_severe_when_and_what_happened_last_time(up: Stack, page: Page):
    """In words, not by a colour alone; the day too, where it is not today; and what was done in the past incident."""
    told = {"error_type": "cpu_saturated", "service": "telling", "severity": "critical"}
    await asyncio.to_thread(up.publish, json.dumps(told).encode())
    await page.open(up.http)
    await page.shows("cpu_saturated on telling")
    await page.value(
        "fetch('/v1/decisions?limit=1').then((answer) => answer.json()).then(([newest]) =>"
        " show({...newest, id: 'dec_2020', episode_id: 'ep_2020', symptom: 'long ago',"
        " created_at: '2020-06-15T12:00:00Z'}))"
    )

    def card(symptom: str) -> str:
        return f"[...document.querySelectorAll('#list > li')].find((item) => item.innerText.includes('{symptom}'))"

    assert await page.value(f"{card('telling')}.querySelector('.severity').textContent") == "critical"
    assert "2020" in await page.value(f"{card('long ago')}.querySelector('time').textContent")
    year = await page.value("String(new Date().getFullYear())")
    assert year not in await page.value(f"{card('telling')}.querySelector('time').textContent")
    past = await page.value(f"{card('telling')}.decision.evidence[0].summary")
    assert past
    assert past in await page.value(f"{card('telling')}.querySelector('ol li').textContent")


async def test_an_episode_is_one_card_with_what_was_said_before(up: Stack, page: Page):
    """The newest decision stands, in whichever order they come; the others are told below; a form is left alone."""
    await asyncio.to_thread(up.publish, b'{"error_type": "cpu_saturated", "service": "folded"}')
    await page.open(up.http)
    await page.shows("cpu_saturated on folded")
    await page.value(
        "fetch('/v1/decisions?limit=1').then((answer) => answer.json()).then(([first]) => [3, 2].forEach((revision) =>"
        " show({...first, id: `dec_${revision}`, revision, recommended_action: `advice ${revision}`,"
        " created_at: `2100-01-01T00:00:0${revision}Z`})))"
    )
    await page.shows("advice 3")
    mine = "[...document.querySelectorAll('#list > li')].filter((item) => item.innerText.includes('folded'))"
    assert await page.value(f"{mine}.length") == 1
    assert await page.value(f"{mine}[0].querySelector('.advice').textContent") == "advice 3"
    old = await page.value(f"[...{mine}[0].querySelectorAll('.earlier li')].map((item) => item.textContent)")
    assert ["advice 2" in old[0], "advice" in old[1], len(old)] == [True, False, 2]
    await page.value(f"{mine}[0].querySelector('form').hidden = false")
    await page.value(f"show({{...{mine}[0].decision, id: 'dec_4', revision: 4, recommended_action: 'advice 4'}})")
    assert await page.value(f"{mine}.map((item) => item.querySelector('.advice').textContent)") == [
        "advice 4", "advice 3"
    ]  # fmt: skip


async def test_a_verdict_is_seen_by_who_comes_later(up: Stack, page: Page):
    """Whoever gave it, wherever: after a reload it stands on the card."""
    await asyncio.to_thread(up.publish, b'{"error_type": "cpu_saturated", "service": "judged"}')
    await page.open(up.http)
    await page.shows("cpu_saturated on judged")
    card = "[...document.querySelectorAll('#list > li')].find((item) => item.innerText.includes('judged'))"
    name = await page.value(f"{card}.decision.id")
    await page.value(f"send('{name}', {{verdict: 'reject', author: '<b>ada</b>'}})")

    async def written() -> bool:
        return bool(await up.rows("SELECT 1 FROM feedback WHERE decision_id = $1", name))

    await until(written, 30, "the verdict")
    await page.open(up.http)
    await page.shows("rejected by <b>ada</b>")
    assert (await page.value(f"{card}.querySelector('.verdict').textContent")).startswith("rejected by <b>ada</b>, ")


async def test_a_decision_on_trial_says_so(up: Stack, page: Page):
    """A shadow decision is told from one that somebody was notified of."""
    await asyncio.to_thread(up.publish, b'{"error_type": "cpu_saturated", "service": "on-trial"}')
    await page.open(up.http)
    await page.shows("cpu_saturated on on-trial")
    assert "shadow" not in await page.value("document.body.innerText")
    await page.value(
        "fetch('/v1/decisions?limit=1').then((answer) => answer.json()).then(([newest]) =>"
        " show({...newest, id: 'dec_trial', episode_id: 'ep_trial', shadow: true}))"
    )
    await page.shows("shadow: nobody was notified")


async def test_a_page_that_lost_the_feed_misses_nothing(up: Stack, page: Page):
    """What was decided while the page had no connection is there once, after it has come back."""
    await page.open(up.http)
    await page.shows("live")
    await page.call("Network.enable")
    await page.call(
        "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0
    )
    await asyncio.to_thread(up.publish, b'{"error_type": "dns_failure", "service": "while-away"}')

    async def decided() -> bool:
        return bool(await up.rows("SELECT 1 FROM decisions WHERE service = 'while-away'"))

    await until(decided, 30, "the decision")
    await page.call(
        "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
    )
    await page.shows("dns_failure on while-away")
    assert (await page.value("document.body.innerText")).count("dns_failure on while-away") == 1


async def test_the_description_tells_what_each_request_takes(up: Stack, page: Page):
    """Of a parameter its type, range and allowed values; of a body its fields, those of objects in it, too."""
    await page.open(f"{up.http}/docs")
    await page.shows("POST /v1/silences")
    shown = await page.value("document.body.innerText")
    for line in (
        "limit integer; 1 to 500, default 50; in the query; how many at most",
        'state "open" | "escalated" | "quiet" | "resolved"; in the query',
        "before time (RFC 3339); in the query",
        'verdict "accept" | "reject" | "correct"; required',
        "action.target string; required",
        "matchers list of string; required",
        "error_type string; 1 to 256 characters; required",
        "Body, JSON: one, or a list of such",
    ):
        assert line in shown
    assert "undefined" not in shown
    assert page.complaints == []


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_narrow_screen_needs_no_sideways_scroll(up: Stack, page: Page, path: str):
    """On 360 pixels everything is in sight, with long words in it, too."""
    await asyncio.to_thread(up.publish, json.dumps({"error_type": "x" * 120, "service": "y" * 120}).encode())
    await page.resize(360, 740)
    await page.open(up.http + path)
    await page.shows("x" * 120 if path == "/" else "/v1/decisions")
    assert await page.value("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert page.complaints == []


async def test_a_correction_on_the_page_becomes_knowledge(up: Stack, page: Page):
    """The form offers the catalogue with its bounds; what is wrong is said; what is right is a verdict and ends it."""
    await asyncio.to_thread(up.publish, b'{"error_type": "gearbox_worn", "service": "corrected"}')
    await page.open(up.http)
    await page.shows("gearbox_worn on corrected")
    card = "[...document.querySelectorAll('#list > li')].find((item) => item.innerText.includes('gearbox_worn'))"
    await page.value(f"[...{card}.querySelectorAll('.trust button')].at(-1).click()")
    await page.shows("What was done")
    await page.value(
        f"(() => {{ const form = {card}.querySelector('form');"
        " const [action, worked] = form.querySelectorAll('select'); action.value = 'throttle_connections';"
        " action.dispatchEvent(new Event('change')); worked.value = 'true';"
        " form.querySelector('textarea').value = 'oil'; })()"
    )
    await page.shows("limit percent")
    share = f"{card}.querySelector('input[type=number]')"
    assert await page.value(f"[{share}.min, {share}.max, {share}.required].join()") == "1,100,true"
    send = f"{card}.querySelector('form button').click()"
    await page.value(f"{share}.value = '400'; {send}")
    assert await page.value(f"{share}.validity.rangeOverflow") is True
    await page.value(f"{share}.value = '40'; {card}.querySelector('form input').value = ''; {send}")
    assert await page.value(f"{card}.querySelector('form').hidden") is False
    await page.value(f"{card}.querySelector('form input').value = 'corrected'; {send}")
    await page.shows("corrected")

    async def taught() -> bool:
        rows = await up.rows(
            "SELECT body->'action' AS action FROM incidents WHERE body->>'error_type' = 'gearbox_worn'"
        )
        return [json.loads(row["action"])["parameters"] for row in rows] == [{"limit_percent": 40.0}]

    await until(taught, 30, "the incident")
    assert await page.value(f"[...{card}.querySelectorAll('.trust button')].every((button) => button.disabled)") is True
    assert page.complaints == []


async def test_an_attack_is_only_text_on_the_page(up: Stack, page: Page):
    """Every attack in what an alert may say: no element, link or script comes of it, neither live nor from the list."""
    anomalies = [
        {
            "error_type": attack[:200], "service": f"attacked-{number}", "message": attack[:4000],
            "labels": {"note": attack[:500]}, "link": attack[:500], "source": attack[:200],
        }
        for number, attack in enumerate(ATTACKS.values())
        if "\x00" not in attack
    ]  # fmt: skip
    await page.open(up.http)
    await page.shows("live")
    await asyncio.to_thread(up.publish, *(json.dumps(anomaly).encode() for anomaly in anomalies))
    # A service that is an attack, too, would hide which card it is.
    attacked = "new Set([...(document.body?.innerText ?? '').matchAll(/attacked-\\d+/g)].map((found) => found[0])).size"
    for way in ("live", "list"):
        if way == "list":
            await page.open(up.http)

        async def all_shown() -> bool:
            return bool(await page.value(attacked) == len(anomalies))

        await until(all_shown, 60, f"{len(anomalies)} attacks, {way}")
        foreign = ", ".join(f"#list {tag}" for tag in ("a", "img", "script", "iframe", "svg", "b", "style", "object"))
        assert await page.value(f"document.querySelectorAll('{foreign}').length") == 0
        assert await page.value("document.querySelectorAll('[onerror], [onload], [onclick], [style]').length") == 0
    assert len(anomalies) > 60
    assert page.complaints == []


async def test_the_page_asks_for_the_relays_token(page: Page):
    """A wrong one is asked for again, a right one opens the feed; neither is in any address."""
    stack = Stack(open_folder())
    stack.environment["RELAY_TOKEN"] = "a-token-of-this-test"
    async with stack.up():
        await page.open(stack.http)
        for token, then in (("wrong", "the feed asks for a token"), ("a-token-of-this-test", "live")):
            await page.shows("The live feed asks for a token")
            await page.value(
                f"(() => {{ const form = document.getElementById('token'); form.elements.token.value = '{token}';"
                " form.querySelector('button').click(); })()"
            )
            await page.shows(then)
        await asyncio.to_thread(stack.publish, b'{"error_type": "dns_failure", "service": "behind-a-token"}')
        await page.shows("dns_failure on behind-a-token")
        assert "a-token-of-this-test" not in await page.value(
            "performance.getEntries().map((entry) => entry.name).join() + location.href"
        )
