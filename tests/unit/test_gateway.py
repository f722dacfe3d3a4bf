"""The gateway alone: what it answers when its own parts fail, and whom it answers."""

import io
import json
from typing import Any

import pytest
import structlog
from litestar.testing import TestClient
from prometheus_client import CONTENT_TYPE_LATEST
from structlog.testing import capture_logs

from pipeline import logs
from pipeline.catalogue import load_catalogue
from pipeline.gateway import app, problems
from pipeline.gateway.__main__ import FILE, document
from pipeline.gateway.answers import situation_of
from pipeline.settings import Settings
from pipeline.stages.fingerprints import Fingerprints
from pipeline.stages.situations import Topology
from tests.program import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def client(**settings: Any) -> TestClient[Any]:
    catalogue = load_catalogue(ROOT / "deploy" / "actions.yaml")
    nothing: Any = None
    built = app.build(Settings(**settings), nothing, nothing, nothing, catalogue, {}, Topology(), Fingerprints())
    return TestClient(built, raise_server_exceptions=False)


def test_a_bug_is_answered_with_500_and_logged_with_its_traceback():
    with client() as gateway, capture_logs() as entries:
        answer = gateway.get("/v1/stats")
    assert (answer.status_code, answer.json()["error"]) == (500, 500)
    (said,) = entries
    assert (said["event"], said["path"], type(said["exc_info"])) == ("gateway_bug", "/v1/stats", AttributeError)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bugs_traceback_tells_nothing_of_who_sent_it(monkeypatch: pytest.MonkeyPatch, terminal: bool):
    """Whoever reads along learns no token: the values of its frames, among them the headers, are not shown."""
    text = io.StringIO()
    monkeypatch.setattr("sys.stderr", text)
    monkeypatch.setattr(logs.err, "_force_terminal", terminal)
    logs.configure(Settings())
    monkeypatch.setattr(problems, "log", structlog.get_logger())
    with client() as gateway:
        gateway.get("/v1/stats", headers={"authorization": "Bearer sesame"})
    structlog.reset_defaults()
    assert "AttributeError" in text.getvalue()
    assert "sesame" not in text.getvalue()


@pytest.mark.parametrize(
    ("most", "kept"), [(1, ["root"]), (2, ["root", "worst"]), (3, ["going", "root", "worst"]), (9, None)]
)
def test_of_a_large_situation_the_most_telling_episodes_are_kept(most: int, kept: list[str] | None):
    """The probable root, then what goes on, the most severe first; they are told in the order they began."""
    told = {
        "over": ("resolved", "critical", "x"), "going": ("open", None, "x"), "root": ("quiet", "info", "db"),
        "worst": ("escalated", "critical", "x"), "other": ("quiet", "info", "x"),
    }  # fmt: skip
    episodes = [
        {
            "id": name, "state": state, "severity": severity, "service": service, "error_type": "e",
            "occurrences": 10**n, "revision": 1, "message": None, "began_at": f"2026-11-01T00:00:0{n}Z",
            "last_seen_at": "2026-11-01T01:00:00Z",
        }
        for n, (name, (state, severity, service)) in enumerate(told.items())
    ]  # fmt: skip
    found = situation_of({"id": "sit", "episodes": episodes}, Topology({"x": ["db"]}), most)
    assert (found.probable_root, found.total, found.active, found.occurrences) == ("root", 5, 2, 11_111)
    assert [episode.id for episode in found.episodes] == (kept or list(told))


def test_metrics_have_the_media_type_that_prometheus_reads():
    """Each parameter once: a strict reader refuses what says its character set twice."""
    with client() as gateway:
        assert gateway.get("/metrics").headers["content-type"] == CONTENT_TYPE_LATEST


def test_the_committed_description_is_what_the_handlers_say_and_what_is_served():
    """`python -m pipeline.gateway` makes it so."""
    with client() as gateway:
        served = gateway.get("/docs/openapi.json").json()
    assert FILE.read_bytes() == document()
    assert json.loads(document()) == served


PATHS = json.loads(FILE.read_bytes())["paths"]


@pytest.mark.parametrize(("path", "method"), [(path, method) for path in PATHS for method in PATHS[path]])
def test_a_parameter_that_is_not_known_is_refused(path: str, method: str):
    """Rather than answered without it; what there is, is said. Those who call us may add to their address."""
    asked = [one["name"] for one in PATHS[path][method].get("parameters", []) if one["in"] == "query"]
    only = f"only {', '.join(asked)}" if asked else "nor is any other here"
    url = path.format_map({"source": "alertmanager"} | dict.fromkeys(("decision_id", "incident_id", "silence_id"), "x"))
    with client() as gateway:
        answer = gateway.request(method, url, params={**dict.fromkeys(asked, "1"), "sevice": "x"})
        assert gateway.options(url, params={"sevice": "x"}).status_code == 204
    if path.startswith("/v1/") and "webhooks" not in path and "slack" not in path:
        assert answer.json() == {"error": 400, "detail": f"sevice: is not known, {only}"}
    else:
        assert "sevice" not in answer.text


@pytest.mark.parametrize("url", ["/?situation=%00", "/docs?x=%00", "/static/app.js?v=%00", "/healthz?x=%00"])
def test_what_is_no_api_takes_any_query(url: str):
    """A link with a NUL in it opens the page, too: nothing of it reaches PostgreSQL."""
    with client() as gateway:
        assert gateway.get(url).status_code == 200


HERE = "http://testserver.local"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"origin": HERE}, 400),
        ({"origin": HERE, "sec-fetch-site": "same-origin"}, 400),
        ({"origin": "https://ours.example", "sec-fetch-site": "cross-site"}, 400),
        ({"origin": "https://proxied.example", "sec-fetch-site": "same-origin"}, 400),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://testserver.local:81"}, 403),
        ({"origin": HERE, "sec-fetch-site": "same-site"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
    ],
)  # fmt: skip
def test_another_sites_page_changes_nothing(headers: dict[str, str], status: int):
    """A browser that visits it does not post for it; reading is free, as a page of another origin sees no answer."""
    with client(allow_origins="https://ours.example") as gateway:
        assert gateway.post("/v1/anomalies", content=b"", headers=headers).status_code == status
        assert gateway.get("/healthz", headers=headers).status_code == 200


async def test_a_client_that_hangs_up_is_no_bug():
    """Litestar calls it an internal error, and nobody is there to be told."""
    scope = {
        "type": "http", "method": "POST", "path": "/v1/anomalies", "raw_path": b"/v1/anomalies", "query_string": b"",
        "headers": [(b"content-length", b"9")], "client": None, "server": ("here", 80), "scheme": "http",
        "root_path": "", "http_version": "1.1", "asgi": {"version": "3.0"}, "extensions": {},
    }  # fmt: skip
    said: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        said.append(message)

    with capture_logs() as logs:
        await client().app(scope, receive, send)
    assert (said[0]["status"], logs) == (500, [])


def test_a_wrong_method_is_told_the_right_ones():
    with client() as gateway:
        answer = gateway.put("/v1/incidents")
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "POST", "OPTIONS"})


@pytest.mark.parametrize("path", ["nothing.js", "app.js/more", "a" * 5000, "..%2fapp.py", "%2e%2e/app.py", "%ff"])
def test_a_file_that_cannot_be_is_not_there(path: str):
    """Whatever the file system says of it."""
    with client() as gateway:
        assert [gateway.request(method, f"/static/{path}").status_code for method in ("GET", "HEAD")] == [404, 404]
        assert gateway.get("/static/app.js").status_code == 200
