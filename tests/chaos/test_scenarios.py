"""Every scenario keeps the promise: small and few with every run of the tests, all of them with ``--chaos all``."""

import pytest

from tests.chaos.play import play
from tests.chaos.scenarios import SCENARIOS, Scenario


def chosen(config: pytest.Config) -> list[Scenario]:
    """The scenarios of this run; those that cannot be played on its kind of broker are not in it."""
    kind, everything = config.getoption("--broker"), config.getoption("--chaos") == "all"
    return [one for one in SCENARIOS.values() if kind in one.brokers and (one.fast or everything)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [one.name for one in chosen(metafunc.config)]
    metafunc.parametrize("name", names)


async def test_the_promise_holds(name: str, request: pytest.FixtureRequest) -> None:
    """Nothing lost, nothing counted or decided or said twice, whatever the scenario breaks."""
    options = request.config.option
    verdict = await play(name, options.seed, options.broker, small=options.chaos == "fast", minutes=1)
    assert verdict.kept, verdict.account.broken
    assert verdict.account.sent > 0
    assert verdict.account.settled == verdict.account.sent
