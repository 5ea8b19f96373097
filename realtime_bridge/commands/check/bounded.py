"""HTTP whose answers end: the supabase package reads whatever a server sends."""

from collections.abc import AsyncIterator

import httpx

LIMIT = 2**18  # bytes of an answer, as it is on the wire


class BoundedTransport(httpx.AsyncHTTPTransport):
    """Raises httpx.ReadError in the middle of an answer that is longer than LIMIT."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its answer is read by whoever called."""
        response = await super().handle_async_request(request)
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _Bounded(response.stream)
        return response


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = LIMIT
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx.ReadError(f"the answer is longer than {LIMIT} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
