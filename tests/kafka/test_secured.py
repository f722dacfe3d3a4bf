"""The program on an Apache Kafka that asks for TLS and a password, knows rights, and makes no topic by accident."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import websockets
from confluent_kafka import Producer

from tests.brokers import PASSWORD, USER, Apache, Missing, fetch, running
from tests.program import free_port, open_folder
from tests.program import running as program
from tests.stack import next_decision

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secured() -> AsyncIterator[Apache]:
    try:
        fetch()
    except Missing as exc:
        pytest.skip(f"no Apache Kafka: {exc}")
    async with running(Apache(secure=True)) as broker:
        yield broker


@pytest.fixture(scope="module")
def home() -> Path:
    return open_folder()


def environment(home: Path, broker: Apache, **changes: str) -> dict[str, str]:
    ports = {name: str(free_port()) for name in ("HTTP_PORT", "RELAY_PORT", "POSTGRES_PORT")}
    return broker.environment | ports | {"PULSEGUARD_HOME": str(home), "COLUMNS": "200"} | changes


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_an_anomaly_is_decided_over_tls_with_a_password(secured: Apache, home: Path, mechanism: str):
    """Every client of the program is let in, Faust's and librdkafka's, and it stops cleanly."""
    told = environment(home, secured, KAFKA_SASL_MECHANISM=mechanism)
    async with program(["up"], told, home / f"log-{mechanism}") as up:
        await up.says("PulseGuard is ready", 120)
        async with websockets.connect(f"ws://127.0.0.1:{told['RELAY_PORT']}/ws/incidents?types=decision") as feed:
            producer = Producer(
                {
                    "bootstrap.servers": secured.bootstrap, "security.protocol": "SASL_SSL",
                    "sasl.mechanism": mechanism, "sasl.username": USER, "sasl.password": PASSWORD,
                    "ssl.ca.location": told["KAFKA_SSL_CA"],
                }
            )  # fmt: skip
            event = {"error_type": "database_timeout", "spike_percentage": 450, "service": mechanism}
            producer.produce("anomalies", json.dumps(event).encode())
            assert await asyncio.to_thread(producer.flush, 30) == 0
            assert (await next_decision(feed, "database_timeout"))["service"] == mechanism
        assert await up.stop() == 0, up.output[-3000:]


REFUSED = {
    "a wrong password": ({"KAFKA_SASL_PASSWORD": "wrong"}, "KAFKA_SASL_USERNAME"),
    "an authority that did not sign": ({"KAFKA_SSL_CA": "{other}"}, "KAFKA_SSL_CA"),
    "no TLS where it is asked for": (
        {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SSL_CA": ""}, "KAFKA_SECURITY_PROTOCOL",
    ),
    "a user without rights": (
        {"KAFKA_SASL_USERNAME": "guest", "KAFKA_SASL_MECHANISM": "PLAIN"}, "TOPIC_ANOMALIES",
    ),
    "a topic that must not be made": ({"TOPIC_CREATE": "no", "TOPIC_DECISIONS": "verdicts"}, "TOPIC_DECISIONS"),
    "a file that is not there": ({"KAFKA_SSL_CA": "/no/such.pem"}, "KAFKA_SSL_CA"),
    "a password without SASL": ({"KAFKA_SECURITY_PROTOCOL": "SSL"}, "KAFKA_SECURITY_PROTOCOL"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_a_start_without_access_names_the_variable(secured: Apache, home: Path, tmp_path: Path, name: str):
    """Exit code 2, the variable at fault, and no traceback."""
    changes, variable = REFUSED[name]
    other = Apache(secure=True)  # never started: only its certificate is wanted
    try:
        if "{other}" in changes.values():
            await asyncio.to_thread(other._format)
        known = {key: value.format(other=other.folder / "ca.pem") for key, value in changes.items()}
        async with program(["up"], environment(home, secured, **known), tmp_path / "log") as up:
            code = await asyncio.to_thread(up.process.wait, 120)
    finally:
        await other.close()
    assert code == 2, up.output[-3000:]
    assert variable in up.output, up.output[-3000:]
    assert "Traceback" not in up.output
