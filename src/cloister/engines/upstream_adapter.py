"""The adapter between the gateway and an upstream: what may pass, in which shape, and what is told where it fails."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from cloister.engines import ended, self_test
from cloister.engines.http_exchange import Handler, Request, Response
from cloister.engines.upstream_answers import kept, read_answer
from cloister.engines.upstream_audio import Form
from cloister.engines.upstream_check import insane, remembers
from cloister.engines.upstream_dialects import CHAT, COMPLETIONS, DIALECTS, MODELS, Dialect, Route, endpoints
from cloister.engines.upstream_errors import UpstreamError, failed, of_status, refused, response_of
from cloister.engines.upstream_events import events
from cloister.engines.upstream_link import Answered, Asked, Place, ask
from cloister.engines.upstream_request import Salts, read_object, rewritten
from cloister.formats.upstream import Upstream

HEALTH: Final = "/health"  # the adapter answers
SELFTEST: Final = "/selftest"  # the upstream answers what it must
_CREATED: Final = 1_767_225_600  # 2026-01-01: when the names were given, since the API wants a time
_WITH_USAGE: Final = frozenset({CHAT, COMPLETIONS})
_ID: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Adapter:
    """An upstream that can be asked.

    `model` is the server's own name of its model, empty where it takes the clients'; `folder` holds the model's files.
    """

    definition: Upstream
    place: Place
    salts: Salts
    model: str = ""
    folder: Path | None = None

    @property
    def dialect(self) -> Dialect:
        """What may be asked of it."""
        return DIALECTS[self.definition.dialect]

    @property
    def handler(self) -> Handler:
        """Answers every route; all else, and whatever fails, in errors of the dialect."""

        def handle(request: Request) -> Response:
            try:
                return self._answer(request)
            except UpstreamError as error:
                return response_of(error, self.dialect.shape(request.path))

        return handle

    def _answer(self, request: Request) -> Response:
        if (request.method, request.path) == ("GET", HEALTH):
            return Response.json({"status": "ok"})
        if (request.method, request.path) == ("GET", SELFTEST):
            passed = self.shortfall() is None
            status = HTTPStatus.OK if passed else HTTPStatus.SERVICE_UNAVAILABLE
            return Response.json({"status": "ok" if passed else "failed"}, status=status)
        route = self._route(request)
        if route.path.startswith(MODELS):
            return self._models(request.path.removeprefix(MODELS).removeprefix("/"))
        if route.body == "form":
            return self._transcription(request, route)
        if route.body == "none":
            return _whole(self._ask(Asked("GET", request.path)), request.path)
        return self._object(request, route)

    def _route(self, request: Request) -> Route:
        allowed = endpoints(self.definition.dialect, self.definition.paths)
        known = {route.path: route for route in self.dialect.routes}
        methods = set()
        for method, path in allowed:
            if (named := _names(path, request.path)) is None:
                continue
            methods.add(method)
            if method == request.method:
                if path.startswith("/v2/models/") and named[0] not in self.definition.models:
                    raise _no_such_model()
                return known.get(path, Route("GET", path))
        if methods:
            message = f"Not allowed to use this method here: it takes {', '.join(sorted(methods))}."
            raise UpstreamError(HTTPStatus.METHOD_NOT_ALLOWED, message, code="method_not_supported")
        raise UpstreamError(HTTPStatus.NOT_FOUND, "Invalid URL.", code="unknown_url")

    def _models(self, name: str) -> Response:
        if name and name not in self.definition.models:
            raise _no_such_model()
        listed = [
            {"id": one, "object": "model", "created": _CREATED, "owned_by": "cloister"}
            for one in ([name] if name else self.definition.models)
        ]
        return Response.json(listed[0] if name else {"object": "list", "data": listed})

    def _object(self, request: Request, route: Route) -> Response:
        fields = read_object(request.body)
        model = self._known(fields.get("model")) if "model" in route.fields else None
        answered = self._sent(request.path, route, fields)
        if fields.get("stream") is True or route.path.endswith("/generate_stream"):
            if not answered.content_type.lower().startswith("text/event-stream"):
                answered.whole()
                raise failed()
            stream = events(answered.pieces, route, shape=self.dialect.shape(request.path), model=model)
            return Response(answered.status, "text/event-stream; charset=utf-8", stream)
        return _whole(answered, route.path, model=model)

    def _sent(self, path: str, route: Route, fields: dict[str, Any]) -> Answered:
        """What the server answers to `fields`, rewritten; where it has a name of its own for the model, by that."""
        if self.model and "model" in route.fields:
            fields = fields | {"model": self.model}
        body = rewritten(route, self.dialect, fields, self.salts)
        return self._ask(Asked("POST", path, "application/json", body, self.dialect.headers))

    def _transcription(self, request: Request, route: Route) -> Response:
        form = Form(request, route, self.definition.transcription_formats)
        name = self._known(form.model)
        content_type, body = form.encode(self.model or name)
        return form.answer(self._ask(Asked("POST", request.path, content_type, body)).whole())

    def _known(self, name: Any) -> str:
        if not isinstance(name, str):
            raise refused("Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
        if name not in self.definition.models:
            raise _no_such_model()
        return name

    def _ask(self, asked: Asked) -> Answered:
        answered = ask(self.place, asked)
        if answered.status != HTTPStatus.OK:
            raise of_status(answered.status, answered.whole())
        return answered

    # --- what it must answer before anybody is served ---

    def shortfall(self) -> int | None:
        """The exit status that says what is wrong with the upstream's answers; None where they are as they must be.

        Raises:
            MalformedInput: the model's self-test is none.
        """
        opened = frozenset(path for _, path in endpoints(self.definition.dialect, self.definition.paths))
        if (wrong := self._untrue(opened)) is not None:
            return wrong
        return None if self.shares(opened) is None else ended.SHARED

    def shares(self, opened: frozenset[str]) -> str | None:
        """Why requests to the paths `opened` may share a prompt cache."""
        asking = frozenset(route.path for route in self.dialect.routes if route.prompts and route.path in opened)
        none_shared = self.definition.prompt_cache == "none"
        return remembers(asking, self._raw, apart=asking if none_shared else self.dialect.heeding)

    def _untrue(self, opened: frozenset[str]) -> int | None:
        """As `shortfall`, of what it computes: by the model's own cases, or by what every model has to answer."""
        name = self.definition.models[0]
        if self.folder is not None and (cases := self_test.read(self.folder)):
            if self_test.first_failure(cases, self.handler, self.folder, name) is None:
                return None
            return self_test.failed_status(self.folder, self.handler, name)
        if CHAT in opened:
            return None if insane(self.handler, name) is None else ended.FAILED
        if self.folder is not None:
            return ended.UNTESTED
        return None if self.listens() else ended.NOT_READY

    def _raw(self, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        route = next(route for route in self.dialect.routes if route.path == path)
        return read_answer(self._sent(path, route, {"model": self.definition.models[0]} | fields).whole())

    def listens(self) -> bool:
        """Whether it says that it can be asked."""
        try:
            place = replace(self.place, silence_seconds=min(5.0, self.place.silence_seconds))
            answered = ask(place, Asked("GET", self.definition.readiness))
            answered.whole()
        except UpstreamError:
            return False
        return answered.status == HTTPStatus.OK


def _whole(answered: Answered, path: str, *, model: str | None = None) -> Response:
    """A whole answer: one JSON object, of the members that clients get."""
    body = answered.whole()
    if not body and (path.startswith("/v2/health") or path.endswith("/ready")):
        return Response(HTTPStatus.OK, "application/json", b"{}")
    found = read_answer(body)
    if found.get("usage") is None and path in _WITH_USAGE:
        found["usage"] = _counted(found.get("timings"))
    return Response(HTTPStatus.OK, "application/json", json.dumps(kept(path, found, model=model)).encode())


def _counted(timings: Any) -> dict[str, int] | None:
    """llama.cpp's own counts of tokens."""
    if not isinstance(timings, dict):
        return None
    asked, said = timings.get("prompt_n"), timings.get("predicted_n")
    if not (isinstance(asked, int) and isinstance(said, int)):
        return None
    asked += timings["cache_n"] if isinstance(timings.get("cache_n"), int) else 0
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _names(path: str, asked: str) -> list[str] | None:
    """The names in the places of `{id}`; None where `asked` is another path."""
    segments, there = path.split("/"), asked.split("/")
    if len(segments) != len(there):
        return None
    names = []
    for segment, found in zip(segments, there, strict=True):
        if segment == "{id}" and _ID.fullmatch(found):
            names.append(found)
        elif segment != found:
            return None
    return names


def _no_such_model() -> UpstreamError:
    message = "The model does not exist, or you do not have access to it: GET /v1/models lists those there are."
    return UpstreamError(HTTPStatus.NOT_FOUND, message, param="model", code="model_not_found")
