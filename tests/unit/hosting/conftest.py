import asyncio

import uvloop


def pytest_asyncio_loop_factories(config, item):
    """The lean protocols run on both loops: the proxy has the one, services the other."""
    if item.path.name.startswith("test_http_"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
