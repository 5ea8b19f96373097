"""Bodies of HTTP answers, which may be as long as somebody else likes."""

import aiohttp


async def read_body(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    """Read a body up to `most` bytes; say whether that was all of it."""
    chunks: list[bytes] = []
    left = most
    async for chunk in response.content.iter_any():
        chunks.append(chunk[:left])
        left -= len(chunk)
        if left < 0:
            break
    return b"".join(chunks), left >= 0
