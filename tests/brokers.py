"""Kafka for the suites, behind one small interface, so that one suite runs against each kind.

- ``embedded``: the program's own, in memory
- ``apache``: Apache Kafka in KRaft mode as child processes, from Maven's coordinates in tests/kafka/pom.xml (Java 17)
- ``cluster``: three of them, replication 3, two of them in sync for an acknowledgement
- ``docker``: a container
- ``given``: what KAFKA_BOOTSTRAP_SERVERS names; it is not ours to stop

`python -m tests.brokers` fetches Apache Kafka, or says what is missing and ends with code 3.
"""

import asyncio
import functools
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from pipeline.embedded import broker as tansu
from pipeline.embedded.child import dies_with_parent, port_in_use
from tests.program import ROOT, until

KINDS = ("embedded", "apache", "cluster", "docker", "given")
POM = ROOT / "tests" / "kafka" / "pom.xml"
JAVA = 17
START_SECONDS = 90.0
FETCH_SECONDS = 300
USER, PASSWORD = "pulseguard", "open-sesame"
"""Who may connect to a secured Apache Kafka, by PLAIN and by SCRAM."""


class Missing(Exception):
    """A kind of broker cannot be had here; the text says what is missing."""


class Broker(ABC):
    """A Kafka whose address stays the same over stops and starts."""

    kind: str
    bootstrap: str
    nodes = 1

    @property
    def environment(self) -> dict[str, str]:
        """What the program needs to be told."""
        return {"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap, "TOPIC_REPLICATION": str(self.nodes)}

    @abstractmethod
    async def start(self) -> None:
        """Start every node that is down, on the same ports and data; returns when every replica is in sync."""

    @abstractmethod
    async def stop(self) -> None:
        """Ask every node to end; returns when all have."""

    @abstractmethod
    async def kill(self) -> None:
        """kill -9 of every node."""

    async def close(self) -> None:
        """End, and forget the data."""
        await self.kill()

    async def kill_leader(self, topic: str, partition: int) -> int:
        """kill -9 of the node that leads the partition; returns its number, for nobody but the log."""
        raise NotImplementedError(f"{self.kind}: one node is all there is")


class Embedded(Broker):
    """Tansu, as `pulseguard up` embeds it. What it held is gone when it ends."""

    kind = "embedded"

    def __init__(self) -> None:
        self._port = _steady_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None
        self.bootstrap = f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        if self._process is None:
            await until(self._port_is_free, 20, f"port {self._port}")
            self._process = await tansu.start(self._port)

    async def _port_is_free(self) -> bool:
        """The broker's front ends a moment after the broker."""
        return not port_in_use(self._port)

    async def stop(self) -> None:
        if self._process is not None:
            await tansu.stop(self._process)
            self._process = None

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Apache(Broker):
    """Apache Kafka, each node broker and controller in one. ``secure``: clients need TLS, a password, and rights.

    Topics are never made by accident here, as on most clusters of operators. ``plain`` is the nodes' own listener, for
    whoever looks on from outside; `environment` names the one for clients.
    """

    kind = "apache"

    def __init__(self, nodes: int = 1, *, secure: bool = False, config: Sequence[str] = ()) -> None:
        self.nodes = nodes
        self.folder = Path(tempfile.mkdtemp(prefix="pulseguard-kafka-"))
        ports = _steady_ports(3 * nodes)
        self._plain, self._control, self._secure = ports[:nodes], ports[nodes : 2 * nodes], ports[2 * nodes :]
        self.plain = _addresses(self._plain)
        self.secure = secure
        self.bootstrap = _addresses(self._secure) if secure else self.plain
        self._config = config
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._jars = fetch()

    @property
    def environment(self) -> dict[str, str]:
        if not self.secure:
            return super().environment
        return super().environment | {
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SSL_CA": str(self.folder / "ca.pem"),
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
        }

    async def start(self) -> None:
        down = [number for number in range(1, self.nodes + 1) if not self._alive(number)]
        if not (self.folder / "node-1.properties").exists():
            await asyncio.to_thread(self._format)
        for number in down:
            self._running[number] = self._spawn(number)
        try:
            await until(self._complete, START_SECONDS, what=f"{self.nodes} nodes of Apache Kafka")
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.log(down[0] if down else 1)[-3000:]}") from None

    async def stop(self) -> None:
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            try:
                await asyncio.to_thread(process.wait, 30)
            except subprocess.TimeoutExpired:
                # Its orderly shutdown asks the other controllers, and the last one has nobody left to ask.
                process.kill()
                process.wait()
        self._running.clear()

    async def kill(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        self._running.clear()

    async def close(self) -> None:
        await self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def kill_leader(self, topic: str, partition: int) -> int:
        admin = AdminClient({"bootstrap.servers": self.plain})
        description = admin.describe_topics(TopicCollection([topic]), request_timeout=10)[topic]
        partitions = (await asyncio.to_thread(description.result)).partitions
        leader = next(int(found.leader.id) for found in partitions if found.id == partition)
        process = self._running.pop(leader)
        process.kill()
        process.wait()
        return leader

    def log(self, number: int = 1) -> str:
        """What a node has written."""
        return (self.folder / f"node-{number}.log").read_text(errors="replace")

    def _alive(self, number: int) -> bool:
        return number in self._running and self._running[number].poll() is None

    async def _complete(self) -> bool:
        dead = [number for number in self._running if not self._alive(number)]
        assert not dead, f"node {dead[0]} of Apache Kafka died:\n{self.log(dead[0])[-3000:]}"
        admin = AdminClient({"bootstrap.servers": self.plain, "log_level": 0})
        try:
            metadata = await asyncio.to_thread(admin.list_topics, timeout=2)
        except KafkaException:
            return False
        parts = [part for topic in metadata.topics.values() for part in topic.partitions.values()]
        level = all(part.leader > 0 and len(part.isrs) == len(part.replicas) for part in parts)
        return len(metadata.brokers) == self.nodes and level

    def _spawn(self, number: int) -> "subprocess.Popen[bytes]":
        with (self.folder / f"node-{number}.log").open("ab") as log:
            return subprocess.Popen(  # from the main thread, so that it dies with us
                [*self._java(256), "kafka.Kafka", str(self.folder / f"node-{number}.properties")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]},
                preexec_fn=dies_with_parent(signal.SIGKILL),  # noqa: PLW1509
            )  # fmt: skip

    def _format(self) -> None:
        if self.secure:
            _make_certificate(self.folder)
        scram = [
            word for kind in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for word in ("--add-scram", f"{kind}=[name={USER},password={PASSWORD}]")
        ]  # fmt: skip
        cluster = "pulseguardAAAAAAAAAAAA"
        for number in range(1, self.nodes + 1):
            path = self.folder / f"node-{number}.properties"
            path.with_suffix(".new").write_text("\n".join(self._properties(number)) + "\n")
            subprocess.run(
                [
                    *self._java(128), "kafka.tools.StorageTool", "format", "-t", cluster,
                    "-c", str(path.with_suffix(".new")), *(scram if self.secure else []),
                ],
                check=True, stdout=subprocess.DEVNULL, stderr=(self.folder / f"node-{number}.log").open("ab"),
            )  # fmt: skip
            path.with_suffix(".new").rename(path)

    def _java(self, megabytes: int) -> list[str]:
        # Short-lived and small: the first compiler only, and the collector with the fewest threads.
        return [
            _java(), f"-Xmx{megabytes}m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{self._jars}/*",
        ]  # fmt: skip

    def _properties(self, number: int) -> list[str]:
        plain, control, secure = (ports[number - 1] for ports in (self._plain, self._control, self._secure))
        listeners = [f"PLAINTEXT://127.0.0.1:{plain}"] + [f"SASL_SSL://127.0.0.1:{secure}"] * self.secure
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(self._control, 1))
        return [
            "process.roles=broker,controller", f"node.id={number}", f"controller.quorum.voters={voters}",
            f"listeners={','.join([*listeners, f'CONTROLLER://127.0.0.1:{control}'])}",
            f"advertised.listeners={','.join(listeners)}", "inter.broker.listener.name=PLAINTEXT",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
            f"log.dirs={self.folder}/node-{number}", "auto.create.topics.enable=false",
            f"default.replication.factor={self.nodes}", f"min.insync.replicas={min(self.nodes, 2)}",
            f"offsets.topic.replication.factor={self.nodes}", "offsets.topic.num.partitions=3",
            f"transaction.state.log.replication.factor={self.nodes}", "transaction.state.log.num.partitions=3",
            f"transaction.state.log.min.isr={min(self.nodes, 2)}",
            # As much as the embedded broker takes, so that both are shown the same bad input.
            "message.max.bytes=12000000",
            # Short times, so that a test of a death takes seconds; a small cleaner, so that it fits the heap.
            "broker.session.timeout.ms=6000", "broker.heartbeat.interval.ms=1000",
            "group.initial.rebalance.delay.ms=0", "group.min.session.timeout.ms=1000",
            "log.cleaner.dedupe.buffer.size=2097152", "log.cleaner.threads=1", *self._secured(), *self._config,
        ]  # fmt: skip

    def _secured(self) -> list[str]:
        if not self.secure:
            return []
        module = "org.apache.kafka.common.security"
        prefix = "listener.name.sasl_ssl"
        scram = f"{module}.scram.ScramLoginModule required;"
        plain = f'{module}.plain.PlainLoginModule required user_{USER}="{PASSWORD}" user_guest="{PASSWORD}";'
        return [
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            f"{prefix}.plain.sasl.jaas.config={plain}",
            f"{prefix}.scram-sha-256.sasl.jaas.config={scram}", f"{prefix}.scram-sha-512.sasl.jaas.config={scram}",
            "ssl.keystore.type=PKCS12", f"ssl.keystore.location={self.folder}/server.p12",
            f"ssl.keystore.password={PASSWORD}", f"ssl.key.password={PASSWORD}",
            # Whoever has no rights by name has none; the nodes themselves come as ANONYMOUS.
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            f"super.users=User:ANONYMOUS;User:{USER}",
        ]  # fmt: skip


class Docker(Broker):
    """A container of Apache Kafka."""

    kind = "docker"

    def __init__(self) -> None:
        import docker
        from docker.errors import DockerException
        from testcontainers.community.kafka import KafkaContainer

        try:
            client = docker.from_env()
            client.ping()
            client.close()
        except DockerException as exc:
            raise Missing(f"no Docker engine answers: {exc}") from exc
        self._container = KafkaContainer("confluentinc/cp-kafka:7.6.0").with_kraft()

    async def start(self) -> None:
        await asyncio.to_thread(self._container.start)
        self.bootstrap = self._container.get_bootstrap_server()

    async def stop(self) -> None:
        raise NotImplementedError("docker: the container would come back on another port")

    async def kill(self) -> None:
        raise NotImplementedError("docker: the container would come back on another port")

    async def close(self) -> None:
        await asyncio.to_thread(self._container.stop)


class Given(Broker):
    """The Kafka that the environment names, with everything else that it says of it."""

    kind = "given"

    def __init__(self) -> None:
        told = [name for name in os.environ if name.startswith("KAFKA_") or name == "TOPIC_REPLICATION"]
        self._named = {name: os.environ[name] for name in told}
        if not self._named.get("KAFKA_BOOTSTRAP_SERVERS"):
            raise Missing("KAFKA_BOOTSTRAP_SERVERS is not set")
        self.bootstrap = self._named["KAFKA_BOOTSTRAP_SERVERS"]

    @property
    def environment(self) -> dict[str, str]:
        return self._named

    async def start(self) -> None:
        """Nothing: it runs."""

    async def stop(self) -> None:
        raise NotImplementedError("given: it is not ours to stop")

    async def kill(self) -> None:
        raise NotImplementedError("given: it is not ours to stop")

    async def close(self) -> None:
        """Nothing: it is not ours."""


def make(kind: str) -> Broker:
    """A broker of that kind, not yet started. Raises `Missing`."""
    makers = {
        "embedded": Embedded, "apache": Apache, "cluster": functools.partial(Apache, 3), "docker": Docker,
        "given": Given,
    }  # fmt: skip
    return makers[kind]()  # type: ignore[abstract]


@asynccontextmanager
async def running(broker: Broker) -> AsyncIterator[Broker]:
    """The broker, started; closed at the end whatever happens."""
    try:
        await broker.start()
        yield broker
    finally:
        await broker.close()


@functools.cache
def fetch() -> Path:
    """The folder of Apache Kafka's jars, fetched by Maven the first time. Raises `Missing` naming what is not there."""
    _java()
    folder = ROOT / "build" / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise Missing("Maven (mvn) is not on the PATH")
    folder.parent.mkdir(exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="kafka-", dir=folder.parent))
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={fresh}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
        if done.returncode != 0:
            raise Missing(f"Maven cannot resolve {POM.relative_to(ROOT)}: {_first_error(done.stdout + done.stderr)}")
        if not folder.exists():  # another run may have been faster
            fresh.rename(folder)
    except subprocess.TimeoutExpired:
        raise Missing(f"Maven did not resolve {POM.relative_to(ROOT)} within {FETCH_SECONDS} s") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def version() -> str:
    """The version of Apache Kafka that the tests run."""
    found = re.search(r"kafka_2\.13</artifactId>\s*<version>([^<]+)", POM.read_text())
    assert found is not None
    return found[1]


@functools.cache
def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None:
        raise Missing(f"Java {JAVA} or newer is not on the PATH")
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError) as exc:
        raise Missing(f"{java} does not run: {exc}") from exc
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found is None or int(found[1]) < JAVA:
        raise Missing(f"Java {JAVA} or newer is needed, and {java} is {found[1] if found else 'of an unknown version'}")
    return java


def _first_error(output: str) -> str:
    lines = [line.removeprefix("[ERROR] ") for line in output.splitlines() if line.startswith("[ERROR]")]
    return (lines or ["no reason given"])[0][:300]


def _make_certificate(folder: Path) -> None:
    """A key for 127.0.0.1 and localhost, signed by itself: what clients trust is the certificate."""
    keytool = shutil.which("keytool", path=str(Path(_java()).parent)) or "keytool"
    store = ["-alias", "kafka", "-keystore", str(folder / "server.p12"), "-storetype", "PKCS12", "-storepass", PASSWORD]
    names = ["-dname", "CN=kafka", "-ext", "san=dns:localhost,ip:127.0.0.1", "-validity", "30"]
    for command in (
        ["-genkeypair", "-keyalg", "RSA", "-keysize", "2048", *names],
        ["-exportcert", "-rfc", "-file", str(folder / "ca.pem")],
    ):
        subprocess.run([keytool, *command, *store], check=True, capture_output=True)


def _addresses(ports: Sequence[int]) -> str:
    return ",".join(f"127.0.0.1:{port}" for port in ports)


def _steady_ports(count: int) -> list[int]:
    """Free ports below those that the kernel hands out by itself: while a node is down nobody is given its port."""
    candidates = random.SystemRandom().sample(range(20000, 32000), 50 * count)
    return [port for port in candidates if not port_in_use(port)][:count]


if __name__ == "__main__":
    try:
        print(fetch().relative_to(ROOT))
    except Missing as exc:
        print(f"no Apache Kafka: {exc}")
        sys.exit(3)
