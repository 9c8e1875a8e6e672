"""A JSON request to a record. Each wrong field is one error in OpenAI's shape that names it and quotes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TypeVar

import msgspec

from cloister.engines.api_error import ApiError
from cloister.engines.http_exchange import Request

Record = TypeVar("Record", bound=msgspec.Struct)

_AT = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`")
_FIELD = re.compile(r"`([A-Za-z_][A-Za-z0-9_]{0,63})`")


def read(request: Request, kind: type[Record], refused: Mapping[str, str]) -> Record:
    """The record in a request's body.

    Args:
        request: its content type has to be JSON's, or absent.
        kind: forbids unknown fields.
        refused: fields that the API has and this engine does not, with the reason; null is taken for each.

    Raises:
        ApiError: 400 or 415; a field is missing, unknown, of another type, or out of its range.
    """
    said = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if said != "application/json":
        message = "Send the request as application/json."
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, code="unsupported_media_type")
    try:
        given = msgspec.json.decode(request.body)
        if isinstance(given, dict):
            _refuse(given, refused)
            given = {name: value for name, value in given.items() if name not in refused}
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, "Could not parse the request as JSON.", code="invalid_json") from error


def _refuse(given: Mapping[str, object], refused: Mapping[str, str]) -> None:
    for name, why in refused.items():
        if given.get(name) is not None:
            raise unsupported(name, why)


def unsupported(param: str, why: str) -> ApiError:
    """What the API has, and this engine does not."""
    return bad(param, f"Unsupported parameter: '{param}': {why}.", code="unsupported_parameter")


def bad(param: str, message: str, *, code: str = "invalid_value") -> ApiError:
    """A field is wrong."""
    return ApiError(HTTPStatus.BAD_REQUEST, message, param=param, code=code)


def _invalid(said: str) -> ApiError:
    """What the decoder found. Its words have types, bounds and the field's place, never a value."""
    at = _AT.search(said)
    place = at[1] if at else ""
    named = _FIELD.search(said)
    field = ".".join(part for part in (place, named[1] if named else "") if part) or None
    if said.startswith("Object contains unknown field"):
        param = field if named else None
        message = f"Unrecognized request argument supplied{f': {param}' if param else ''}."
        return ApiError(HTTPStatus.BAD_REQUEST, message, param=param, code="unknown_parameter")
    if said.startswith("Object missing required field"):
        message = f"Missing required parameter: '{field}'."
        return ApiError(HTTPStatus.BAD_REQUEST, message, param=field, code="missing_required_parameter")
    what = _AT.sub("", said).replace("`", "")
    if what.startswith("Invalid enum value"):  # these would be the client's own words
        what = "Expected one of the values that the API has"
    code = "invalid_type" if ", got " in what else "invalid_value"
    message = f"Invalid '{place}': {what}." if place else f"Invalid request: {what}."
    return ApiError(HTTPStatus.BAD_REQUEST, message, param=place or None, code=code)
