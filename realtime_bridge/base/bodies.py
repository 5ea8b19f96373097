"""Bodies of HTTP responses, which may be of any length."""

import aiohttp


async def read_body(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    """Return the first `most` bytes of a body, and whether that is all of it."""
    chunks: list[bytes] = []
    left = most
    async for chunk in response.content.iter_any():
        chunks.append(chunk[:left])
        left -= len(chunk)
        if left < 0:
            break
    return b"".join(chunks), left >= 0
