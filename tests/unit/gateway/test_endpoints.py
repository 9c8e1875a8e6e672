import msgspec
import pytest

from cloister.errors import MalformedInput
from cloister.formats.contract import Endpoint
from cloister.services.gateway.inside import Endpoints, MethodNotAllowed, NoSuchEndpoint

LIST = Endpoint(method="GET", path="/v1/models")
ONE = Endpoint(method="GET", path="/v1/models/{id}")


def ask(path, *endpoints, method="GET"):
    Endpoints(endpoints).require(method, path)


@pytest.mark.parametrize("name", ["whisper-1", "pocketsphinx-en-us", "ft:whisper:me", "v1.2", "a" * 128])
def test_a_path_that_ends_in_id_stands_for_one_name(name):
    ask(f"/v1/models/{name}", ONE)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/models/",
        "/v1/models/a/b",
        "/v1/models/.",
        "/v1/models/..",
        "/v1/models/a%2fb",
        "/v1/models/a?b",
        "/v1/models/{id}",
        "/v1/models/a\n",
        f"/v1/models/{'a' * 129}",
        "/v1/modelsx/a",
        "/v1/a",
    ],
)
def test_it_stands_for_no_other_path(path):
    with pytest.raises((NoSuchEndpoint, MalformedInput)):
        ask(path, ONE)


def test_its_method_is_the_only_one():
    with pytest.raises(MethodNotAllowed):
        ask("/v1/models/whisper-1", ONE, method="POST")
    ask("/v1/models", LIST, ONE)
    with pytest.raises(NoSuchEndpoint):
        ask("/v1/models/whisper-1", LIST)


@pytest.mark.parametrize("path", ["/v1/{id}/files", "/v1/models{id}", "/{id}/{id}", "/v1/{name}", "/v1/ models", ""])
def test_a_contract_has_it_as_a_last_segment_only(path):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"method": "GET", "path": path}, Endpoint)
    assert msgspec.convert({"method": "GET", "path": "/v1/models/{id}"}, Endpoint) == ONE
