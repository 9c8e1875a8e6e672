import io
import json
import logging

import pytest
import structlog

from cloister.hosting import logs


@pytest.fixture
def stream():
    yield (written := io.StringIO())
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    assert "canary" not in written.getvalue()


def test_a_line_is_json_with_time_level_and_service(stream):
    logs.configure("kms", stream=stream).info("released", count=2)
    line = json.loads(stream.getvalue())
    assert line["event"] == "released"
    assert line["service"] == "kms"
    assert line["level"] == "info"
    assert line["count"] == 2
    assert line["time"].endswith("Z")


def test_bytes_long_text_and_messages_of_exceptions_stay_out(stream):
    logger = logs.configure("kms", stream=stream)
    logger.info("x", body=b"canary", text="y" * 400 + "canary", error=ValueError("canary"))
    try:
        int("canary")
    except ValueError:
        logger.exception("a fault")
        logging.getLogger("uvicorn.error").exception("a fault")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[0]["body"] == "<6 bytes>"
    assert all("ValueError at " in line["fault"] for line in lines[1:])
    assert len(lines) == 3


def test_what_is_below_the_level_is_not_written(stream):
    logs.configure("kms", level="warning", stream=stream).info("canary")
    logging.getLogger("uvicorn.error").info("canary")
    assert stream.getvalue() == ""
