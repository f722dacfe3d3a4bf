"""Qdrant behind its REST paths, as far as the program uses them: qdrant-client's own in-process engine answers.

No package ships a Qdrant server. What is played here is the line to it and its absence, not its storage.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from qdrant_client import QdrantClient, models

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class QdrantServer:
    """``url`` is its address, ``port`` its port; ``status`` is answered to everything while it is set."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.status: int | None = None
        self.asked = 0
        self.client = QdrantClient(":memory:")

    def routes(self) -> list[web.RouteDef]:
        place = "/collections/{name}"
        return [
            web.get("/collections", self._answering(self._collections)),
            web.get(f"{place}/exists", self._answering(self._exists)),
            web.put(place, self._answering(self._create)),
            web.put(f"{place}/points", self._answering(self._upsert)),
            web.post(f"{place}/points", self._answering(self._retrieve)),
            web.post(f"{place}/points/delete", self._answering(self._delete)),
            web.post(f"{place}/points/query/batch", self._answering(self._query)),
            web.post(f"{place}/points/scroll", self._answering(self._scroll)),
        ]

    def _answering(self, found: Callable[[str, Any], Any]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.asked += 1
            if self.status is not None:
                return web.json_response({"status": {"error": "played"}}, status=self.status)
            body = await request.json() if request.can_read_body else {}
            result = found(request.match_info.get("name", ""), body)
            return web.json_response({"result": result, "status": "ok", "time": 0.001})

        return handle

    def _collections(self, _: str, __: Any) -> Any:
        return {"collections": [{"name": item.name} for item in self.client.get_collections().collections]}

    def _exists(self, name: str, _: Any) -> Any:
        return {"exists": self.client.collection_exists(name)}

    def _create(self, name: str, body: Any) -> Any:
        wish = models.CreateCollection(**body)
        return self.client.create_collection(
            name, vectors_config=wish.vectors or {}, sparse_vectors_config=wish.sparse_vectors
        )

    def _upsert(self, name: str, body: Any) -> Any:
        self.client.upsert(name, models.PointsList(**body).points)
        return {"operation_id": 1, "status": "completed"}

    def _retrieve(self, name: str, body: Any) -> Any:
        wish = models.PointRequest(**body)
        points = self.client.retrieve(
            name, wish.ids, with_payload=wish.with_payload or False, with_vectors=wish.with_vector or False
        )
        return [point.model_dump(mode="json") for point in points]

    def _delete(self, name: str, body: Any) -> Any:
        self.client.delete(name, models.PointIdsList(**body).points)
        return {"operation_id": 1, "status": "completed"}

    def _query(self, name: str, body: Any) -> Any:
        wishes = models.QueryRequestBatch(**body).searches
        return [answer.model_dump(mode="json") for answer in self.client.query_batch_points(name, wishes)]

    def _scroll(self, name: str, body: Any) -> Any:
        wish = models.ScrollRequest(**body)
        points, offset = self.client.scroll(
            name, limit=wish.limit or 10, offset=wish.offset, with_payload=wish.with_payload or True
        )
        return {"points": [point.model_dump(mode="json") for point in points], "next_page_offset": offset}


@asynccontextmanager
async def qdrant_server() -> AsyncIterator[QdrantServer]:
    server = QdrantServer()
    app = web.Application(client_max_size=2**26)
    app.add_routes(server.routes())
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{server.port}"
    try:
        yield server
    finally:
        await runner.cleanup()
        server.client.close()
