import logging

import pytest

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.multipart import MultipartLimits, Part, parse_multipart

FORM = "multipart/form-data; boundary=AaB03x"

# RFC 7578 section 4.2 describes the parts; the body is the shape curl and the OpenAI SDK send.
BODY = (
    b"--AaB03x\r\n"
    b'Content-Disposition: form-data; name="model"\r\n\r\n'
    b"whisper-1\r\n"
    b"--AaB03x\r\n"
    b'content-disposition: form-data; name="file"; filename="speech \xc3\xa9.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n"
    b"RIFF\r\n--AaB03\x00\xff\r\n--\r\n\r\n"
    b"--AaB03x--\r\n"
)


def test_a_form_is_read_as_its_parts_in_order():
    model, file = parse_multipart(BODY, FORM)
    assert model == Part("model", None, None, memoryview(b"whisper-1"))
    assert model.text() == "whisper-1"
    assert file == Part("file", "speech é.wav", "audio/wav", memoryview(b"RIFF\r\n--AaB03\x00\xff\r\n--\r\n"))


def test_an_empty_form_and_an_empty_part_are_forms():
    assert parse_multipart(b"--AaB03x--\r\n", FORM) == ()
    (part,) = parse_multipart(b'--AaB03x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\r\n--AaB03x--', FORM)
    assert bytes(part.content) == b""


@pytest.mark.parametrize(
    ("why", "body", "content_type"),
    [
        ("not multipart/form-data", BODY, "application/json"),
        ("not multipart/form-data", BODY, "multipart/mixed; boundary=AaB03x"),
        ("names no boundary", BODY, "multipart/form-data"),
        ("malformed", BODY, "multipart/form-data; boundary=" + "x" * 300),
        ("malformed", BODY, "multipart/form-data; boundary=other"),
        ("not latin-1", BODY, "multipart/form-data; boundary=\u20ac"),
        ("ends before", BODY[:-4], FORM),
        ("ends before", b"", FORM),
        ("no name", BODY.replace(b'name="model"', b""), FORM),
        ("no name", BODY.replace(b"form-data;", b"attachment;"), FORM),
        ("twice", BODY.replace(b"Content-Type: audio/wav", b'Content-Disposition: form-data; name="b"'), FORM),
        ("not UTF-8", BODY.replace(b'"model"', b'"\xff"'), FORM),
        ("transfer encoding", BODY.replace(b"Content-Type: audio/wav", b"Content-Transfer-Encoding: base64"), FORM),
    ],
)
def test_what_is_not_a_whole_form_is_refused_with_the_reason(why, body, content_type):
    with pytest.raises(MalformedInput, match=why):
        parse_multipart(body, content_type)


def test_caps_hold_before_work():
    with pytest.raises(TooLarge, match="the cap is 10"):
        parse_multipart(BODY, FORM, limits=MultipartLimits(body_bytes=10))
    with pytest.raises(TooLarge, match="more than 1 parts"):
        parse_multipart(BODY, FORM, limits=MultipartLimits(parts=1))
    with pytest.raises(MalformedInput):
        parse_multipart(BODY, FORM, limits=MultipartLimits(header_bytes=20))


def test_a_field_that_is_not_text_is_refused_when_read_as_text():
    with pytest.raises(MalformedInput, match="'file' is not UTF-8"):
        parse_multipart(BODY, FORM)[1].text()


def test_what_a_user_sent_reaches_no_log(caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(MalformedInput):
        parse_multipart(BODY.replace(b"Content-Type", b"S\xffcret"), FORM)
    assert caplog.records == []
