"""Kafka, PostgreSQL and Qdrant in containers. Without a Docker engine every test here is skipped, and says why."""

from collections.abc import Iterator

import docker
import pytest
from docker.errors import DockerException
from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.qdrant import QdrantContainer

KAFKA, POSTGRES, QDRANT = "confluentinc/cp-kafka:7.6.0", "postgres:18.1-bookworm", "qdrant/qdrant:v1.19.0"


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine that answers."""
    try:
        client = docker.from_env()
        client.ping()
        client.close()
    except DockerException as exc:
        pytest.skip(f"no Docker engine answers: {exc}")


@pytest.fixture(scope="session")
def kafka_bootstrap(engine: None) -> Iterator[str]:
    with KafkaContainer(KAFKA).with_kraft() as container:
        yield container.get_bootstrap_server()


@pytest.fixture(scope="session")
def database_url(engine: None) -> Iterator[str]:
    with PostgresContainer(POSTGRES, driver=None) as container:
        yield container.get_connection_url()


@pytest.fixture(scope="session")
def qdrant_url(engine: None) -> Iterator[str]:
    with QdrantContainer(QDRANT) as container:
        yield f"http://{container.rest_host_address}"
