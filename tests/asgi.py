"""A service in this process, asked on an event loop of its own, with its lifespan."""

from __future__ import annotations

import asyncio

import httpx

from kgrec_core.serving.app import application
from kgrec_core.serving.service import Service


class Asking:
    """address: under which it is asked. follow: whether redirects are followed."""

    def __init__(self, service: Service, address: str = "http://here", follow: bool = False) -> None:
        self.service, self.loop = service, asyncio.new_event_loop()
        app = application(service)
        self.life = app.router.lifespan_context(app)
        self.loop.run_until_complete(self.life.__aenter__())
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=address, follow_redirects=follow)

    def __call__(self, method: str, path: str, **given) -> httpx.Response:
        return self.loop.run_until_complete(self.client.request(method, path, **given))

    def together(self, *asked: tuple) -> list[httpx.Response]:
        async def every():
            return await asyncio.gather(*(self.client.post(path, json=body) for path, body in asked))

        return self.loop.run_until_complete(every())

    def close(self) -> None:
        self.loop.run_until_complete(self.client.aclose())
        self.loop.run_until_complete(self.life.__aexit__(None, None, None))
        self.loop.close()
