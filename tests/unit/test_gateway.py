"""The gateway alone: what it answers when its own parts fail, and whom it answers."""

from typing import Any

import pytest
from litestar.testing import TestClient
from structlog.testing import capture_logs

from pipeline.catalogue import load_catalogue
from pipeline.gateway import app
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
    with client() as gateway, capture_logs() as logs:
        answer = gateway.get("/v1/stats")
    assert (answer.status_code, answer.json()["error"]) == (500, 500)
    (said,) = logs
    assert (said["event"], said["path"], type(said["exc_info"])) == ("gateway_bug", "/v1/stats", AttributeError)


def test_a_wrong_method_is_told_the_right_ones():
    with client() as gateway:
        answer = gateway.put("/v1/incidents")
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "POST", "OPTIONS"})
