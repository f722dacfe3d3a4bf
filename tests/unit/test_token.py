"""API_TOKEN: who shows it is let in, and nobody else, on every path of the API."""

import asyncio
import base64
import socket
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from litestar.testing import TestClient
from structlog.testing import capture_logs

from pipeline import settings
from pipeline.errors import Misconfigured
from pipeline.gateway import slack, webhooks
from pipeline.gateway.app import serve_gateway
from pipeline.gateway.token import shows, tokens_of
from pipeline.metrics import served
from pipeline.settings import Settings
from pipeline.sinks.relay import Relay, _bind
from tests.unit.test_gateway import client
from tests.unit.test_webhook_sources import SIGNED

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TOKEN = "sésame:one"
OPEN = {
    "/", "/docs", "/docs/{path}", "/docs/openapi.json", "/healthz", "/metrics", "/readyz", "/static/{file_path}",
    slack.PATH,
}  # fmt: skip
"""Of all routes those for which nothing has to be shown: Slack signs what it sends."""


def bearer(token: str) -> dict[str, bytes]:
    return {"authorization": b"Bearer " + token.encode()}


def basic(token: str, user: str = "x") -> dict[str, bytes]:
    return {"authorization": b"Basic " + base64.b64encode(f"{user}:{token}".encode())}


def tokens(setting: str) -> list[bytes]:
    found = tokens_of(Settings(api_token=setting))
    assert found is not None
    return found


def routes() -> Iterator[tuple[str, str]]:
    """Each method and path of the application, OPTIONS among them."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        app = client().app
    for route in app.routes:
        for method in route.methods:
            yield method, route.path_format


ROUTES = sorted(routes())
PLACES = {
    "file_path": "app.js", "path": "x", "decision_id": "d", "incident_id": "i", "silence_id": "s", "source": "grafana"
}  # fmt: skip


@pytest.fixture(scope="module")
def without() -> Iterator[TestClient[Any]]:
    """A gateway where no token is set."""
    with client() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def guarded() -> Iterator[TestClient[Any]]:
    with client(api_token=TOKEN) as gateway:
        yield gateway


def asked(gateway: TestClient[Any], method: str, path: str, headers: dict[str, bytes]) -> tuple[int, str | None]:
    """The status, and what the answer says has to be shown."""
    answer = gateway.request(method, path.format(**PLACES), headers=headers)
    if answer.status_code == 401:
        assert answer.json()["error"] == 401
        assert "API_TOKEN" in answer.json()["detail"]
    return answer.status_code, answer.headers.get("www-authenticate")


def test_the_table_has_the_routes_of_the_application() -> None:
    """Those that are open are all there, and the rest is the API."""
    paths = {path for _, path in ROUTES}
    assert paths >= OPEN
    assert len(paths - OPEN) > 12
    assert all(path.startswith("/v1/") for path in paths - OPEN)


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1] not in OPEN])
def test_a_path_of_the_api_is_for_who_shows_the_token(
    without: TestClient[Any], guarded: TestClient[Any], method: str, path: str
) -> None:
    """401 without and with a wrong one, before anything else; with the right one it is what it was."""
    challenge = 'Basic realm="PulseGuard", Bearer' if path.startswith("/v1/webhooks/") else "Bearer"
    before, _ = asked(without, method, path, {})
    assert before != 401
    for wrong in ({}, bearer("wrong"), basic("wrong"), basic("x", TOKEN), bearer(""), basic("")):
        assert asked(guarded, method, path, wrong) == (401, challenge)
        assert asked(guarded, method, f"{path}?token={TOKEN}&access_token={TOKEN}", wrong) == (401, challenge)
    for right in (bearer(TOKEN), basic(TOKEN), basic(TOKEN, "")):
        assert asked(guarded, method, path, right) == (before, None)


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1] in OPEN])
def test_what_is_open_asks_for_nothing(
    without: TestClient[Any], guarded: TestClient[Any], method: str, path: str
) -> None:
    """Probes, the page and its parts, and what Slack signs; a token that is shown there all the same does no harm."""
    before = asked(without, method, path, {})
    assert [asked(guarded, method, path, shown) for shown in ({}, bearer("wrong"), bearer(TOKEN))] == [before] * 3


@pytest.mark.parametrize("path", ["//v1/actions", "/v1//actions/", "/%76%31/actions", "/v1/actions?episode=%00"])
def test_no_other_spelling_of_a_path_goes_around_it(guarded: TestClient[Any], path: str) -> None:
    """They lead to the same handler."""
    assert guarded.get(f"http://testserver.local{path}").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/v1/decisions/d/nothing", 404), ("POST", "/v1/webhooks/grafana/more", 404),
     ("GET", "/v1", 404), ("GET", "//v1//nothing", 404), ("PUT", "/v1/incidents", 405), ("GET", "/v1/anomalies", 405)],
)  # fmt: skip
def test_what_is_not_there_is_told_to_who_shows_the_token(
    guarded: TestClient[Any], method: str, path: str, status: int
) -> None:
    """No path of the API tells a stranger whether it is one; a wrong method does not, either."""
    challenge = 'Basic realm="PulseGuard", Bearer' if "webhooks" in path else "Bearer"
    url = f"http://testserver.local{path}"
    assert asked(guarded, method, url, {}) == asked(guarded, method, url, bearer("wrong")) == (401, challenge)
    assert asked(guarded, method, url, bearer(TOKEN)) == (status, None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/v1x", 404), ("PUT", "/healthz", 405), ("GET", slack.PATH, 405)],
)
def test_what_is_not_there_outside_of_the_api_asks_for_nothing(
    guarded: TestClient[Any], method: str, path: str, status: int
) -> None:
    assert asked(guarded, method, path, {}) == (status, None)


@pytest.mark.parametrize(("source", "setting", "header"), SIGNED)
def test_a_webhook_is_asked_for_its_signature_or_else_for_the_token(source: str, setting: str, header: str) -> None:
    """A sender that signs shows nothing else. Where its secret is not set the token is what guards it."""
    with client(api_token=TOKEN, **{setting: "ours"}) as gateway:
        for shown in ({}, bearer(TOKEN)):
            answer = gateway.post(f"/v1/webhooks/{source}", content=b"{}", headers=shown)
            assert (answer.status_code, header in answer.json()["detail"]) == (401, True)
        for other in {*webhooks.SOURCES, "nobody"} - {source}:
            assert asked(gateway, "POST", f"/v1/webhooks/{other}", {})[0] == 401
    with client(api_token=TOKEN) as gateway:
        assert asked(gateway, "POST", f"/v1/webhooks/{source}", {})[0] == 401
        assert gateway.post(f"/v1/webhooks/{source}", content=b"{}", headers=basic(TOKEN)).status_code == 400


def test_the_body_is_not_read_before(guarded: TestClient[Any]) -> None:
    """Whoever may not send it need not send it: no 413, and nothing that it holds is told."""
    assert guarded.post("/v1/anomalies", content=b"[" * 6_000_000).status_code == 401
    assert guarded.post("/v1/anomalies", content=b"[" * 6_000_000, headers=bearer(TOKEN)).status_code == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"origin": "https://evil.example"}, 403), ({"sec-fetch-site": "cross-site"}, 403),
     ({"origin": "https://ours.example"}, 400), ({}, 400)],
)  # fmt: skip
def test_another_sites_page_is_refused_with_the_token_too(headers: dict[str, bytes], status: int) -> None:
    """A browser that keeps a password sends it along, whoever has it ask."""
    with client(api_token=TOKEN, allow_origins="https://ours.example") as gateway:
        for shown in (basic(TOKEN), bearer(TOKEN)):
            assert gateway.post("/v1/anomalies", content=b"", headers=headers | shown).status_code == status
        assert gateway.post("/v1/anomalies", content=b"", headers=headers).status_code == 401


OURS, EVIL = "https://ours.example", "https://evil.example"


@pytest.mark.parametrize("path", ["/v1/anomalies", "/v1/decisions", "/v1/silences/s", "/v1/webhooks/grafana"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_page_of_an_allowed_origin_may_send_the_token(path: str, method: str) -> None:
    """Its browser asks first, and without it. Nobody else's page is told so."""
    asks = {"access-control-request-method": method, "access-control-request-headers": "authorization, content-type"}
    with client(api_token=TOKEN, allow_origins=f"https://other.example,{OURS}") as gateway:
        answer = gateway.options(path, headers={"origin": OURS, **asks})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, OURS)
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {"authorization", "content-type"} <= set(allowed)
        assert method in answer.headers["access-control-allow-methods"].split(", ")
        assert "access-control-allow-credentials" not in answer.headers
        for stranger in (EVIL, "https://ours.example.evil.example", "http://ours.example", "null"):
            answer = gateway.options(path, headers={"origin": stranger, **asks})
            assert answer.status_code == 400
            assert "access-control-allow-origin" not in answer.headers
        assert asked(gateway, "OPTIONS", path, {})[0] == 401
    for other in (client(api_token=TOKEN), client()):
        with other as gateway:
            assert "access-control-allow-origin" not in gateway.options(path, headers={"origin": OURS, **asks}).headers


@pytest.mark.parametrize(
    ("path", "shown", "status"),
    [("/v1/actions", TOKEN, 200), ("/v1/actions", "wrong", 401), ("/v1/nothing", TOKEN, 404),
     ("/v1/nothing", "wrong", 401), ("/healthz", "", 200)],
)  # fmt: skip
def test_an_allowed_origin_reads_the_answer_whatever_it_is(path: str, shown: str, status: int) -> None:
    """A 401 too: else its page could not tell a wrong token from a gateway that is away."""
    with client(api_token=TOKEN, allow_origins=OURS) as gateway:
        for origin, readable in ((OURS, OURS), (EVIL, None)):
            answer = gateway.get(path, headers={"origin": origin, **bearer(shown)})
            assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (status, readable)


@pytest.mark.parametrize(
    "value",
    [b"", b" ", b"Bearer", b"Bearer ", b"Bearer \xff\xfe", b"Bearer sesame:one",
     b"Bearer " + TOKEN.encode() + b", x", b"Bearer x " + TOKEN.encode(), b"Digest " + TOKEN.encode(), TOKEN.encode(),
     b"Bearer" + TOKEN.encode(), b"Basic", b"Basic !", b"Basic \xe9", b"Basic eA", b"Basic Og==", b"Basic eA==",
     b"Basic /w==", b"Basic " + b"A" * 60_000, b"Bearer " + b"a" * 60_000, b"\xc3\x28", b"Basic " + TOKEN.encode(),
     b"Basic " + base64.b64encode(TOKEN.encode()), b"Basic " + base64.b64encode(TOKEN.encode() + b":")],
)  # fmt: skip
def test_an_odd_header_shows_nothing(guarded: TestClient[Any], value: bytes) -> None:
    """401 and not a bug."""
    with capture_logs() as logs:
        assert asked(guarded, "GET", "/v1/actions", {"authorization": value}) == (401, "Bearer")
    assert logs == []


@pytest.mark.parametrize(
    "header",
    ["Bearer one", "Bearer two", "bearer one", "BEARER   one ", "Basic eDpvbmU=", "basic  OnR3bw==", "Basic OnR3bw== "],
)
def test_each_of_several_tokens_lets_in(header: str) -> None:
    """So that a new one can take the place of an old one; spaces around it and the scheme's case do not matter."""
    assert shows(header, tokens("one, two,"))


@given(st.text(st.characters(max_codepoint=255)))
def test_whatever_is_shown_is_an_answer(header: str) -> None:
    for scheme in ("", "Bearer ", "Basic "):
        assert not shows(scheme + header, [b"a token that nobody guesses"])


@example("à")
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters=","), min_size=1))
def test_a_token_of_any_letters_can_be_shown(token: str) -> None:
    """As UTF-8, in both ways."""
    ours = tokens(token)
    for headers in (bearer(token), basic(token)):
        assert shows(headers["authorization"].decode("latin-1"), ours)


def test_a_token_that_is_no_utf_8_can_be_shown() -> None:
    """The environment holds bytes, and they are compared as they are."""
    assert shows("Bearer \xff\xfe", tokens(b"\xff\xfe".decode(errors="surrogateescape")))
    assert not shows("Bearer s\xe9same", tokens("sésame"))


def test_it_is_a_secret(without: TestClient[Any]) -> None:
    """Not in what the settings say of themselves, nor in the page, which is told only that there is one."""
    with client(api_token=TOKEN, relay_token="théirs") as gateway:
        page = gateway.get("/")
    told = page.text + str(page.headers) + repr(settings.read({"API_TOKEN": TOKEN}))
    assert not any(secret in told for secret in (TOKEN, "théirs"))
    assert '<meta name="api-token" content="wanted">' in page.text
    assert '<meta name="relay-token" content="wanted">' in page.text
    assert "wanted" not in without.get("/").text


def test_the_description_says_where_it_may_be_wanted(without: TestClient[Any]) -> None:
    """On every path of the API but Slack's, as a choice: where none is set, nothing is asked for."""
    described = without.get("/docs/openapi.json").json()
    assert {one["scheme"] for one in described["components"]["securitySchemes"].values()} == {"bearer", "basic"}
    for path, methods in described["paths"].items():
        for operation in methods.values():
            guarded = path not in OPEN
            assert operation.get("security") == ([{"bearer": []}, {"basic": []}, {}] if guarded else None)
            assert ("401" in operation["responses"]) == path.startswith("/v1/")


@pytest.mark.parametrize(
    ("host", "token", "is_open"),
    [("127.0.0.1", "", False), ("127.8.8.8", "", False), ("localhost", "", False), ("0.0.0.0", "", True),
     ("10.0.0.7", "", True), ("::", "", True), ("::1", "", False), ("monitoring.example", "", True),
     ("0.0.0.0", "one", False)],
)  # fmt: skip
def test_an_api_is_open_where_others_reach_it_and_no_token_is_wanted(host: str, token: str, is_open: bool) -> None:
    assert settings.read({"PULSEGUARD_HOST": host, "API_TOKEN": token}).api_is_open == is_open


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", []), ("0.0.0.0", ["api_is_open"])])
async def test_an_open_api_is_warned_of_at_start(host: str, warned: list[str]) -> None:
    """Where the port is taken, too: it comes first."""
    with socket.socket() as taken, capture_logs() as logs:
        taken.bind((host, 0))
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match="HTTP_PORT"):
            await serve_gateway(client().app, Settings(host=host, http_port=port), listens := asyncio.Event())
    assert ([said["event"] for said in logs], listens.is_set()) == (warned, False)


@pytest.mark.parametrize("host", ["nothing.invalid", "http://127.0.0.1", "192.0.2.1"])
async def test_an_address_that_is_not_this_machines_is_told_as_one(host: str) -> None:
    """By its own variable, at each port: the port is not to blame."""
    said = r"^PULSEGUARD_HOST: .* is no address of this machine"
    with pytest.raises(Misconfigured, match=said):
        await serve_gateway(client().app, Settings(host=host), asyncio.Event())
    with pytest.raises(Misconfigured, match=said):
        await _bind(Relay(Settings(host=host), "epoch"), Settings(host=host))
    with pytest.raises(Misconfigured, match=said), served(host, 9, lambda: None):
        pass


def test_a_token_of_no_letters_lets_nobody_in() -> None:
    """The settings refuse it; should it come here all the same, the API is shut."""
    with client(api_token=",") as gateway:
        for shown in ({}, bearer(""), basic("")):
            assert asked(gateway, "GET", "/v1/actions", shown)[0] == 401
