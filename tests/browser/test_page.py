"""The pages in a real browser: decisions as they come, hostile text as text, verdicts, a narrow screen."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
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


def alone(error_type: str, service: str, **fields: Any) -> bytes:
    """An anomaly whose episode is a situation of its own."""
    return json.dumps(
        {"error_type": error_type, "service": service, "labels": {"namespace": service}} | fields
    ).encode()


def card(text: str) -> str:
    """The card that shows ``text``, as an expression."""
    return f"[...document.querySelectorAll('#list > li')].find((item) => item.innerText.includes({text!r}))"


async def advises(page: Page, text: str) -> None:
    """Wait until the card that shows ``text`` has a decision: it is there before that."""

    async def there() -> bool:
        return bool(await page.value(f"{card(text)}?.querySelector('.advice') != null"))

    await until(there, 40, f"advice on {text!r}")


async def decide(up: Stack, service: str, **changes: Any) -> None:
    """Write another decision down, as the newest one of the service but for ``changes``."""
    row, *_ = await up.rows("SELECT * FROM decisions WHERE service = $1 ORDER BY created_at DESC", service)
    body = json.loads(row["published"]) | changes
    columns = {name: body[name] for name in ("id", "episode_id", "revision", "created_at")}
    changed = json.dumps(columns | {"published": "\\x" + json.dumps(body).encode().hex()})
    await up.rows(
        "INSERT INTO decisions SELECT (jsonb_populate_record(decisions, $2)).* FROM decisions WHERE id = $1",
        row["id"], changed,
    )  # fmt: skip
    await up.rows(
        "UPDATE episodes SET revision = greatest(revision, $2) WHERE id = $1", body["episode_id"], body["revision"]
    )


async def happened(up: Stack, service: str, name: str, **changes: Any) -> None:
    """Write a situation down that is an episode ``name`` like the service's own, decided at ``created_at``."""
    columns = "fingerprint, revision, state, opened_by, occurrences, service, error_type, severity, opened_at, began_at"
    await up.rows(
        f"INSERT INTO episodes (id, situation_id, {columns}, last_seen_at, touched_at) "
        f"SELECT $2, $2, $2, 1, $3, opened_by, 1, $2, error_type, severity, $4, $4, $4, $4 "
        "FROM episodes WHERE service = $1",
        service, name, changes.pop("state", "open"), datetime.fromisoformat(changes["created_at"]),
    )  # fmt: skip
    await decide(up, service, id=f"dec_{name}", episode_id=name, **changes)


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
    message = "ok \u202e)0.99 ecnedifnoc(\u2066 pile a" + "\u0301" * 100 + " hid\u200bd\u3164e\u2800n שָׁלוֹם \u0928\u093f"
    await asyncio.to_thread(up.publish, json.dumps({"error_type": "bidi", "message": message}).encode())
    await page.open(up.http)
    await page.shows("ok )0.99 ecnedifnoc( pile a" + "\u0301" * 4 + " hidden שָׁלוֹם \u0928\u093f")
    assert page.complaints == []


async def test_a_verdict_on_the_page_becomes_feedback(up: Stack, page: Page):
    """A click on accept is a row, and the page says so; a misclick is taken back by a click on another button."""
    await asyncio.to_thread(up.publish, alone("disk_full", "clicked"))
    await page.open(up.http)
    await advises(page, "disk_full on clicked")
    buttons = f"[...{card('disk_full on clicked')}.querySelectorAll('.trust button')]"
    await page.value(f"{buttons}[0].click()")
    await page.shows("accepted")
    assert await page.value(f"{buttons}.map((button) => button.disabled)") == [True, False, False]
    await page.value(f"{buttons}[1].click()")
    await page.shows("rejected")
    assert await page.value(f"{buttons}.map((button) => button.disabled)") == [False, True, False]

    async def written() -> bool:
        rows = await up.rows(
            "SELECT f.verdict FROM feedback f JOIN decisions d ON d.id = f.decision_id WHERE d.service = 'clicked'"
            " ORDER BY f.created_at"
        )
        return [row["verdict"] for row in rows] == ["accept", "reject"]

    await until(written, 30, "the verdicts")
    (told,) = await up.rows(
        "SELECT floor(100 * confidence_score + 1e-9) AS said FROM decisions WHERE service = 'clicked'"
    )
    await page.shows(f"0 % of 1 judged were right ({told['said']:.0f} % was said)")
    assert page.complaints == []


async def test_the_newest_is_on_top_and_what_is_over_below_what_goes_on(up: Stack, page: Page):
    """Whatever comes first. What is over says so in words, and is dimmed."""
    await asyncio.to_thread(up.publish, alone("cpu_saturated", "newest"))
    await page.open(up.http)
    await advises(page, "cpu_saturated on newest")
    await happened(up, "newest", "ep_old", symptom="an old one", created_at="2020-01-01T00:00:00Z")
    over = '[{"error_type": "o", "service": "over"}, {"error_type": "o", "service": "over", "status": "resolved"}]'
    async with aiohttp.ClientSession(up.http) as client, client.post("/v1/anomalies", data=over) as answer:
        assert answer.status == 202
    await page.shows("resolved")
    await page.shows("an old one")
    shown = await page.value("[...document.querySelectorAll('#list .symptom')].map((item) => item.textContent)")
    assert ["newest" in shown[0], *shown[-2:]] == [True, "an old one", "o on over"]
    assert await page.value(f"{card('o on over')}.querySelector('.badge').textContent") == "resolved"
    assert await page.value("[...document.querySelectorAll('#list > .over')].length") == 1


async def test_a_card_says_how_severe_when_and_what_happened_last_time(up: Stack, page: Page):
    """In words, not by a colour alone; the day too, where it is not today; and what was done in the past incident."""
    await asyncio.to_thread(up.publish, alone("cpu_saturated", "telling", severity="critical"))
    await page.open(up.http)
    await advises(page, "cpu_saturated on telling")
    await happened(up, "telling", "ep_2020", symptom="long ago", created_at="2020-06-15T12:00:00Z")
    await page.shows("long ago")
    assert await page.value(f"{card('telling')}.querySelector('.severity').textContent") == "critical"
    assert "2020" in await page.value(f"{card('long ago')}.querySelector('time').textContent")
    year = await page.value("String(new Date().getFullYear())")
    assert year not in await page.value(f"{card('telling')}.querySelector('time').textContent")
    past = await page.value(
        "fetch('/v1/decisions?service=telling').then((answer) => answer.json())"
        ".then(([newest]) => newest.evidence[0].summary)"
    )
    assert past
    assert past in await page.value(f"{card('telling')}.querySelector('ol li').textContent")


async def test_an_episode_is_one_card_with_what_was_said_before(up: Stack, page: Page):
    """The newest decision stands, the others are told below; a form that is filled in is left alone meanwhile."""
    await asyncio.to_thread(up.publish, alone("cpu_saturated", "folded"))
    await page.open(up.http)
    await advises(page, "cpu_saturated on folded")
    for revision in (3, 2):
        told = {"id": f"dec_{revision}", "revision": revision, "recommended_action": f"advice {revision}"}
        await decide(up, "folded", **told, created_at=f"2100-01-01T00:00:0{revision}Z")
    await page.shows("advice 3")
    mine = card("cpu_saturated on folded")
    advice = f"{mine}.querySelector('.advice').textContent"
    assert await page.value("document.body.innerText.split('cpu_saturated on folded').length") == 2
    old = await page.value(f"[...{mine}.querySelectorAll('.earlier li')].map((item) => item.textContent)")
    assert ["advice 2" in old[0], "advice" in old[1], len(old)] == [True, False, 2]
    correct = f"[...{mine}.querySelectorAll('.trust button')].at(-1).click()"
    await page.value(correct)
    await page.shows("What others should know")
    await decide(up, "folded", id="dec_4", revision=4, recommended_action="advice 4", created_at="2100-01-01T00:00:04Z")
    await page.shows("There is a newer decision")
    assert await page.value(advice) == "advice 3"
    await page.value(correct)
    await page.shows("advice 4")
    assert "There is a newer decision" not in await page.value("document.body.innerText")
    assert page.complaints == []


async def test_a_storm_is_one_card_that_unfolds(up: Stack, page: Page):
    """Its root on top and the others in a line, also when more come and after a reload, with few requests."""
    node = {"error_type": "node_not_ready", "labels": {"cluster": "c", "namespace": "storm"}}
    began_at = datetime.now(UTC) - timedelta(minutes=1)

    def nodes(first: int, last: int, severity: str) -> list[bytes]:
        told = [node | {"service": f"node-{number}", "severity": severity} for number in range(first, last)]
        return [
            json.dumps(one | {"occurred_at": (began_at + timedelta(milliseconds=number)).isoformat()}).encode()
            for number, one in enumerate(told, first)
        ]

    await page.open(up.http)
    await page.shows("live")
    began = await page.value("performance.now()")
    await asyncio.to_thread(up.publish, *nodes(0, 60, "warning"))
    await page.shows("59 more episodes, worst warning")
    await asyncio.to_thread(up.publish, *nodes(60, 61, "critical"))
    await page.shows("60 more episodes, worst critical")
    asked, seconds = await page.value(
        "[performance.getEntriesByType('resource').filter(({name, startTime}) => name.includes('/v1/situations')"
        f" && startTime > {began}).length, (performance.now() - {began}) / 1000]"
    )
    assert asked <= 1 + seconds / 1.5
    assert await page.value("document.querySelectorAll('.others li').length") == 0
    for way in ("live", "reloaded"):
        if way == "reloaded":
            await page.open(up.http)
            await page.shows("60 more episodes, worst critical")
        mine = card("60 more episodes")
        assert await page.value(f"{mine}.querySelector('.symptom').textContent") == "node_not_ready on node-0"
        seen = await page.value(f"{mine}.querySelector('.head .facts').textContent")
        assert seen == "61 seen · 61 episodes of one cause, 61 go on"
        await page.value(f"{mine}.querySelector('.others').open = true")
        await page.shows("node-60 · node_not_ready")
        rows = f"[...{mine}.querySelectorAll('.others > ol > li')]"
        assert await page.value(f"{rows}.length") == 60
        first = await page.value(f"{rows}[0].querySelector('summary').innerText")
        assert first.split() == ["node-60", "·", "node_not_ready", "open", "critical", "1", "seen"]
        await page.value(f"{rows}[0].querySelector('details').open = true")
        await page.shows("node_not_ready on node-60")

        async def told(row: str = rows) -> bool:
            return bool(await page.value(f"{row}[0].querySelectorAll('.trust button').length") == 3)

        await until(told, 40, "its own decision")
    assert page.complaints == []


async def test_a_link_shares_what_is_looked_for(up: Stack, page: Page):
    """Text, severity and state narrow the list, stand in the address, and are there again when it is opened."""
    for told in (
        {"error_type": "wanted_fault", "service": "sought-a", "severity": "critical", "message": "valve is stuck"},
        {"error_type": "other_fault", "service": "sought-b", "severity": "info", "message": "pump is hot"},
    ):
        await asyncio.to_thread(up.publish, json.dumps(told).encode())
    await page.open(up.http)
    await page.shows("other_fault on sought-b")
    await page.shows("wanted_fault on sought-a")
    shown = "[...document.querySelectorAll('#list > li .symptom')].map((item) => item.textContent.split(':')[0])"

    async def choose(name: str, value: str) -> list[str]:
        await page.value(
            f"(() => {{ const field = document.getElementById('filter').elements[{name!r}]; field.value = {value!r};"
            " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        return list(await page.value(shown))

    assert set(await choose("q", "SOUGHT fault")) == {"wanted_fault on sought-a", "other_fault on sought-b"}
    assert await choose("q", "sought hot") == ["other_fault on sought-b"]
    assert len(await choose("q", "sought")) == 2
    assert await choose("severity", "error") == ["wanted_fault on sought-a"]
    assert await choose("state", "active") == ["wanted_fault on sought-a"]
    address = await page.value("location.href")
    assert address.endswith("/?q=sought&severity=error&state=active")
    assert await choose("state", "resolved") == []
    await page.shows("Nothing fits the filter")
    await page.open(address)
    await page.shows("wanted_fault on sought-a")
    assert await page.value(shown) == ["wanted_fault on sought-a"]
    assert await page.value("document.getElementById('filter').elements.severity.value") == "error"
    await page.value("document.getElementById('clear').click()")
    await page.shows("other_fault on sought-b")
    assert await page.value("location.search") == ""
    for nothing in ("severity=<b>&state=constructor", "situation=%00"):
        await page.open(f"{up.http}/?{nothing}")
        await page.shows("other_fault on sought-b")
    assert page.complaints == []


async def test_a_link_to_one_situation_shows_that_one(up: Stack, page: Page):
    """As Slack's messages link to it: with its verdicts, also where it is older than all that the page lists."""
    await asyncio.to_thread(up.publish, alone("linked_fault", "linked"))
    await page.open(up.http)
    await page.shows("linked_fault on linked")
    (row,) = await up.rows("SELECT situation_id FROM episodes WHERE service = 'linked'")
    await up.rows("UPDATE episodes SET state = 'resolved' WHERE service = 'linked'")
    await up.rows(
        "INSERT INTO episodes (id, fingerprint, state, opened_by, occurrences, error_type, opened_at, last_seen_at,"
        " began_at, situation_id) SELECT 'ep_crowd_' || n, 'fp_crowd_' || n, 'open', 'a', 1, 'crowd', now(), now(),"
        " now(), 'sit_crowd_' || n FROM generate_series(1, 200) AS n"
    )
    try:
        await page.open(f"{up.http}/?situation={row['situation_id']}")
        await page.shows("linked_fault on linked")
        assert await page.value("document.querySelectorAll('#list > li').length") == 1
        await advises(page, "linked_fault on linked")
        assert "accept" in (await page.value(f"{card('linked_fault')}.innerText")).lower()
        await page.value("document.getElementById('clear').click()")
        await page.shows("crowd")
        assert await page.value("location.search") == ""
    finally:
        await up.rows("DELETE FROM episodes WHERE error_type = 'crowd'")
    await page.open(f"{up.http}/?situation=sit_none")
    await page.shows("Nothing fits the filter")
    assert page.complaints == []


async def test_the_filter_stands_on_one_line(up: Stack, page: Page):
    """On a wide screen its labels are level, and its fields are."""
    await asyncio.to_thread(up.publish, alone("level_fault", "level"))
    await page.open(up.http)
    await page.shows("level_fault on level")
    for what in ("label", "input, #filter select"):
        tops = await page.value(
            f"[...document.querySelectorAll('#filter {what}')].map((item) => item.getBoundingClientRect().top)"
        )
        assert (len(tops), len(set(tops))) == (3, 1), (what, tops)
    assert page.complaints == []


async def test_the_keyboard_keeps_its_place_when_the_list_changes(up: Stack, page: Page):
    """Who is on a card's line stays on it while another card comes above it, and while its own advice is renewed."""
    await asyncio.to_thread(up.publish, alone("cpu_saturated", "focused"))
    await page.open(up.http)
    await advises(page, "cpu_saturated on focused")
    mine = card("cpu_saturated on focused")
    await page.value(f"{mine}.querySelector('.why summary').focus()")
    assert await page.value("document.activeElement.closest('#list > li') !== null") is True
    await asyncio.to_thread(up.publish, alone("disk_full", "comes-above"))
    await page.shows("disk_full on comes-above")
    here = f"{mine}.querySelector('.why summary') === document.activeElement"
    assert await page.value(here) is True
    again = {"id": "dec_f2", "revision": 2, "recommended_action": "renewed", "created_at": "2100-02-01T00:00:00Z"}
    await decide(up, "focused", **again)
    await page.shows("renewed")
    assert await page.value(here) is True


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out_from_its_ground(up: Stack, page: Page, scheme: str):
    """WCAG 2.2 AA, 4.5 to 1, for every text that is seen, in both colour schemes, of what is over, too."""
    await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    for severity in ("info", "warning", "error", "critical"):
        told = alone(f"shade_{severity}", f"shade-{severity}", severity=severity)
        over = [
            alone(f"shade_{severity}", f"shade-over-{severity}", severity=severity, status=status)
            for status in ("firing", "resolved")
        ]
        worse = alone("shade_worse", "shade-worse", severity=severity)
        await asyncio.to_thread(up.publish, told, *over, worse)
    await page.open(up.http + "/?q=shade")
    for text in ("became worse", "resolved", "shade_critical", "shade_info"):
        await page.shows(text)
    faint = await page.value(r"""(() => {
      const parts = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
      const light = (colour) => parts(colour).slice(0, 3).map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
      const ground = (node) => {
        const colour = getComputedStyle(node).backgroundColor;
        return parts(colour)[3] === 0 && node.parentElement ? ground(node.parentElement) : colour;
      };
      return [...document.querySelectorAll("body *")]
        .filter((node) => node.checkVisibility())
        .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
        .filter((node) => {
          const [one, other] = [light(getComputedStyle(node).color), light(ground(node))];
          return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) < 4.5;
        }).map((node) => `${node.className} ${node.textContent}`);
    })()""")
    assert faint == []
    unnamed = "[...document.querySelectorAll('input, select, textarea, button')].filter((field) =>"
    assert await page.value(f"{unnamed} !(field.labels?.[0]?.textContent || field.textContent)).length") == 0


async def test_a_verdict_is_seen_by_who_comes_later(up: Stack, page: Page):
    """Whoever gave it, wherever: after a reload it stands on the card."""
    await asyncio.to_thread(up.publish, alone("cpu_saturated", "judged"))
    await page.open(up.http)
    await advises(page, "cpu_saturated on judged")
    mine = card("cpu_saturated on judged")
    name = await page.value(f"{mine}.querySelector('.decision').dataset.decision")
    await page.value(
        f"import('/static/verdict.js').then(({{send}}) => send('{name}', {{verdict: 'reject', author: '<b>ada</b>'}}))"
    )

    async def written() -> bool:
        return bool(await up.rows("SELECT 1 FROM feedback WHERE decision_id = $1", name))

    await until(written, 30, "the verdict")
    await page.open(up.http)
    await page.shows("rejected by <b>ada</b>")
    assert (await page.value(f"{mine}.querySelector('.verdict').textContent")).startswith("rejected by <b>ada</b>, ")


async def test_a_decision_on_trial_says_so(up: Stack, page: Page):
    """A shadow decision is told from one that somebody was notified of."""
    await asyncio.to_thread(up.publish, alone("cpu_saturated", "on-trial"))
    await page.open(up.http)
    await advises(page, "cpu_saturated on on-trial")
    assert "shadow" not in await page.value("document.body.innerText")
    await happened(up, "on-trial", "ep_trial", shadow=True, created_at="2026-01-01T00:00:00Z")
    await page.shows("shadow: nobody was notified")


async def test_letters_from_the_right_move_nothing_beside_them(up: Stack, page: Page):
    """Neither in a sentence, nor in a list of ours, nor in a verdict: digits and brackets stand where they are read."""
    anomaly = {"error_type": "תקלה", "service": "שירות", "spike_percentage": 450}
    anomaly["message"] = "אזעקה 5 חדשה (7) 88 at night"
    await asyncio.to_thread(up.publish, json.dumps(anomaly).encode())
    await page.open(up.http)
    await advises(page, "אזעקה")
    evidence = [{"incident_id": "תקלה-1", "title": "שירות", "score": 0.91, "action": None, "outcome": "failed"}]
    told = {"id": "dec_rtl", "revision": 2, "evidence": evidence, "model": "מודל", "created_at": "2100-03-01T00:00:00Z"}
    await decide(up, "שירות", **told)
    mine = card("אזעקה")
    await page.shows("מודל")
    await page.value(f"{mine}.querySelector('.why').open = true")
    await page.value(
        "import('/static/verdict.js').then(({send}) => send('dec_rtl', {verdict: 'reject', author: 'דנה 12'}))"
    )
    await page.open(up.http)
    await page.shows("rejected by דנה 12")
    await page.value(f"{mine}.querySelector('.why').open = true")
    # Where a text of one line begins and ends, of those in the order of the text.
    places = await page.value(
        f"""(() => {{
          const lefts = (selector, ...parts) => {{
            const node = {mine}.querySelector(selector);
            node.style.whiteSpace = "pre";
            const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
            const texts = [];
            while (walker.nextNode()) texts.push(walker.currentNode);
            let from = 0;
            return parts.map((part) => {{
              const place = node.textContent.indexOf(part, from);
              from = place + part.length;
              let before = 0;
              const text = texts.find((one) => (before += one.data.length) > place);
              const range = document.createRange();
              range.setStart(text, place - before + text.data.length);
              range.setEnd(text, place - before + text.data.length + 1);
              return range.getBoundingClientRect().left;
            }});
          }};
          return [
            lefts(".symptom", "450", "%", "above"), lefts(".symptom", "חדשה", "88", "at night"),
            lefts(".symptom", "אזעקה", "5", "חדשה"), lefts(".why ol li", "תקלה", "1", "שירות", "(", "0.91", ")"),
            lefts(".decision > .facts:last-child", "מודל", "ms"), lefts(".verdict", "by", "דנה", ","),
          ];
        }})()"""
    )
    places[2].reverse()  # written from the right, and what stands between its words is read so, too
    for found in places:
        assert found == sorted(found), places
    assert page.complaints == []


async def test_what_is_shown_contradicts_no_verdict(up: Stack, page: Page):
    """What falls short of a threshold is not rounded up to it; and a fault that became worse called for nobody."""
    await asyncio.to_thread(up.publish, alone("cpu_saturated", "short-of"), alone("cpu_saturated", "short-of"))
    await page.open(up.http)
    await advises(page, "cpu_saturated on short-of")
    await decide(
        up, "short-of", id="dec_short", revision=2, verdict="escalate", confidence_score=0.4996,
        created_at="2100-04-01T00:00:00Z",
    )  # fmt: skip
    await up.rows("UPDATE episodes SET state = 'escalated' WHERE service = 'short-of'")
    await page.shows("49 % confidence · ask a human")
    await page.shows("became worse")
    mine = card("cpu_saturated on short-of")
    await page.value(f"{mine}.querySelector('.trust button').click()")
    await page.shows("accepted")
    assert "escalated" not in await page.value(f"{mine}.innerText")
    assert await page.value(
        "import('/static/text.js').then(({percentOf}) => [0.57, 0.29, 0.58, 1, 0.999, 0].map(percentOf))"
    ) == [57, 29, 58, 100, 99, 0]  # fmt: skip
    assert page.complaints == []


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
    await page.shows("what you see is of then")
    await page.call(
        "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
    )
    await page.shows("dns_failure on while-away")
    assert (await page.value("document.body.innerText")).count("dns_failure on while-away") == 1

    async def said_no_more() -> bool:
        return bool(await page.value("document.getElementById('lost').hidden"))

    await until(said_no_more, 30, "the connection")


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
        "action.target string; at most 256 characters; required",
        "matchers list of string; required",
        "error_type string; 1 to 256 characters; required",
        "Body, JSON: one, or a list of such",
    ):
        assert line in shown
    assert "undefined" not in shown
    assert page.complaints == []


@pytest.mark.parametrize("answer", [None, "503", "no JSON"])
async def test_a_description_that_cannot_be_read_is_told(up: Stack, page: Page, answer: str | None):
    """Where the gateway goes away after the page itself came, or somebody before it answers in its place."""
    await page.call("Page.addScriptToEvaluateOnNewDocument", source=(
        "window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))" if answer is None else
        f"window.fetch = async () => new Response('no JSON', {{ status: {503 if answer == '503' else 200} }})"
    ))  # fmt: skip
    await page.open(f"{up.http}/docs")
    await page.shows("The description cannot be read")
    assert "Reading" not in await page.value("document.body.innerText")
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
    await advises(page, "gearbox_worn on corrected")
    mine = card("gearbox_worn")
    await page.value(f"[...{mine}.querySelectorAll('.trust button')].at(-1).click()")
    await page.shows("What was done")
    assert await page.value(f"{mine}.querySelector('form select').validity.valueMissing") is True  # nothing is put in
    await page.value(
        f"(() => {{ const form = {mine}.querySelector('form');"
        " const [action, worked] = form.querySelectorAll('select'); action.value = 'throttle_connections';"
        " action.dispatchEvent(new Event('change')); worked.value = 'true';"
        " form.querySelector('textarea').value = 'oil'; })()"
    )
    await page.shows("limit percent")
    share = f"{mine}.querySelector('input[type=number]')"
    assert await page.value(f"[{share}.min, {share}.max, {share}.required].join()") == "1,100,true"
    send = f"{mine}.querySelector('form button').click()"
    await page.value(f"{share}.value = '400'; {send}")
    assert await page.value(f"{share}.validity.rangeOverflow") is True
    await page.value(f"{share}.value = '40'; {mine}.querySelector('form input').value = ''; {send}")
    assert await page.value(f"{mine}.querySelector('form').hidden") is False
    await page.value(f"{mine}.querySelector('form input').value = 'corrected'; {send}")
    await page.shows("corrected")

    async def taught() -> bool:
        rows = await up.rows(
            "SELECT body->'action' AS action FROM incidents WHERE body->>'error_type' = 'gearbox_worn'"
        )
        return [json.loads(row["action"])["parameters"] for row in rows] == [{"limit_percent": 40.0}]

    await until(taught, 30, "the incident")
    assert await page.value(f"[...{mine}.querySelectorAll('.trust button')].some((button) => button.disabled)") is False
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
    for first in range(0, len(anomalies), 100):  # the page lists 200 situations, and each may be one of its own
        await only_text(up, page, anomalies[first : first + 100])
    assert len(anomalies) > 60
    assert page.complaints == []


async def only_text(up: Stack, page: Page, anomalies: Sequence[dict[str, Any]]) -> None:
    """Publish these, and look at all of them while they come, and once more on a page that is opened anew."""
    await page.open(up.http)
    await page.shows("live")
    await asyncio.to_thread(up.publish, *(json.dumps(anomaly).encode() for anomaly in anomalies))
    # A service that is an attack, too, would hide which card it is.
    attacked = "[...(document.body?.innerText ?? '').matchAll(/attacked-\\d+/g)].map((found) => found[0])"
    services = {anomaly["service"] for anomaly in anomalies}
    for way in ("live", "list"):
        if way == "list":
            await page.open(up.http)

        async def all_shown() -> bool:
            await page.value("document.querySelectorAll('#list .others').forEach((fold) => { fold.open = true; })")
            return services <= set(await page.value(attacked))

        await until(all_shown, 60, f"{len(anomalies)} attacks, {way}")
        foreign = ", ".join(f"#list {tag}" for tag in ("a", "img", "script", "iframe", "svg", "b", "style", "object"))
        assert await page.value(f"document.querySelectorAll('{foreign}').length") == 0
        assert await page.value("document.querySelectorAll('[onerror], [onload], [onclick], [style]').length") == 0


async def give(page: Page, name: str, token: str) -> None:
    """Fill in one of the forms that ask for a token."""
    await page.value(
        f"(() => {{ const form = document.getElementById('{name}'); form.elements.token.value = '{token}';"
        " form.querySelector('button').click(); })()"
    )


ADDRESSES = "performance.getEntries().map((entry) => entry.name).join() + location.href"


async def test_the_page_asks_for_the_relays_token(page: Page):
    """A wrong one is asked for again, a right one opens the feed; neither is in any address."""
    stack = Stack(open_folder())
    stack.environment["RELAY_TOKEN"] = "a-token-of-this-test"
    async with stack.up():
        await page.open(stack.http)
        for token, then in (("wrong", "the feed asks for a token"), ("a-token-of-this-test", "live")):
            await page.shows("The live feed asks for a token")
            await give(page, "relay-token", token)
            await page.shows(then)
        await page.shows("Send a first anomaly")
        await page.shows(f"curl -X POST {stack.http}/v1/anomalies")
        await asyncio.to_thread(stack.publish, b'{"error_type": "dns_failure", "service": "behind-a-token"}')
        await page.shows("dns_failure on behind-a-token")
        assert "Send a first anomaly" not in await page.value("document.body.innerText")
        assert "API_TOKEN" not in await page.value("document.body.innerText")
        assert "a-token-of-this-test" not in await page.value(ADDRESSES)


async def test_the_page_asks_for_the_apis_token(page: Page):
    """For both where both are wanted. It shows it in a header, for this tab alone, until it is refused."""
    stack = Stack(open_folder())
    stack.environment |= {"API_TOKEN": "old, sésame-of-the-api", "RELAY_TOKEN": "sésame-of-the-feed"}
    async with stack.up():
        await page.open(stack.http)
        await page.shows("The API asks for a token (API_TOKEN)")
        await page.shows("The live feed asks for a token (RELAY_TOKEN)")
        assert page.complaints == []  # nothing was asked for that could not be had
        await give(page, "relay-token", "sésame-of-the-feed")
        await page.shows("live")
        await give(page, "api-token", "wrong")
        await page.shows("This token is not taken.")
        await give(page, "api-token", " sésame-of-the-api ")
        await page.shows('-H "Authorization: Bearer $API_TOKEN"')
        await asyncio.to_thread(stack.publish, alone("dns_failure", "behind-two-tokens"))
        await page.shows("dns_failure on behind-two-tokens")
        await advises(page, "behind-two-tokens")
        assert "asks for a token" not in await page.value("document.body.innerText")
        assert "not taken" not in await page.value("document.body.innerText")
        await page.value(f"[...{card('behind-two-tokens')}.querySelectorAll('button')][0].click()")
        await page.shows("accepted")
        assert page.complaints  # of what was asked for with the wrong one, several at once
        assert all("401" in said for said in page.complaints)

        page.complaints.clear()
        await page.open(stack.http)
        await page.shows("dns_failure on behind-two-tokens")
        await advises(page, "behind-two-tokens")
        assert page.complaints == []
        assert "asks for a token" not in await page.value("document.body.innerText")
        await page.value("sessionStorage.removeItem('api-token')")
        await page.shows("The API asks for a token (API_TOKEN)")
        await page.value("sessionStorage.setItem('api-token', 'taken-back')")
        await page.shows("This token is not taken.")
        await page.shows("The API asks for a token (API_TOKEN)")
        await page.shows("what you see is of then")
        assert "behind-two-tokens" in await page.value("document.body.innerText")
        await page.value(f"[...{card('behind-two-tokens')}.querySelectorAll('button')][1].click()")
        await page.shows("not sent: the API asks for a token")
        await give(page, "api-token", "old")
        await page.shows("live")

        async def level() -> bool:
            return not await page.value("document.getElementById('lost').checkVisibility()")

        await until(level, 20, "nothing lost")
        told = await page.value(ADDRESSES + " + JSON.stringify(localStorage) + document.cookie")
        assert not any(secret in told for secret in ("sésame", "s%C3%A9same", "taken-back"))
        assert not any("sésame" in said for said in page.complaints)
    assert "sésame" not in (stack.home / "log").read_text()
