"""What goes wrong with vendors' services: each answers in the service's place, or lets it answer (None)."""

import asyncio

from aiohttp import web


def status(number, *, times=1000, **headers):
    """This status, so many times."""
    left = [times]

    async def answer(_request):
        left[0] -= 1
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=number, headers=named) if left[0] >= 0 else None

    return answer


def body(data, *, of="/", headers=None):
    """This body, where the path begins so."""

    async def answer(request):
        return web.Response(body=data, headers=headers) if request.path.startswith(of) else None

    return answer


def redirect(target, *, of="/", times=1000):
    """A redirect, where the path begins so."""
    left = [times]

    async def answer(request):
        left[0] -= 1
        found = request.path.startswith(of) and left[0] >= 0
        return web.Response(status=302, headers={"Location": target}) if found else None

    return answer


async def cut(request):
    """The connection is cut before any answer."""
    request.transport.abort()
    return web.Response()


async def truncated(request):
    """The body ends before its length."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"x" * 10)
    request.transport.close()
    return response


async def slow(request):
    """A body that comes one byte at a time and has no end."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b"x")
        await asyncio.sleep(0.05)
    return response


async def silent(_request):
    """No answer at all."""
    await asyncio.sleep(5)


def endless(counted):
    """A body without a length that goes on for as long as it is read; `counted` collects the size of its pieces."""

    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"x" * 65_536)
            counted.append(65_536)
        return response

    return answer


def announced(size):
    """A body that says that it is so long, of which nothing comes."""

    async def answer(request):
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        await asyncio.sleep(5)
        return response

    return answer
