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


INFER = Endpoint(method="POST", path="/v2/models/{id}/infer")
OF_A_VERSION = Endpoint(method="POST", path="/v2/models/{id}/versions/{id}/infer")


def test_a_name_may_stand_in_the_middle_and_a_second_one_after_it():
    ask("/v2/models/resnet/infer", INFER, method="POST")
    ask("/v2/models/resnet/versions/3/infer", OF_A_VERSION, method="POST")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models//infer",
        "/v2/models/../infer",
        "/v2/models/a/b/infer",
        "/v2/models/a%2fb/infer",
        "/v2/models/infer",
        "/v2/models/a/infer/",
        "/v2/models/{id}/infer",
        "/v2/models/a/load",
        "/v2/models/a/versions//infer",
        "/v2/models/a/versions/1/load",
    ],
)
def test_a_name_in_the_middle_lets_no_path_step_elsewhere(path):
    with pytest.raises(NoSuchEndpoint):
        ask(path, INFER, OF_A_VERSION, method="POST")


def test_a_path_that_is_written_out_counts_before_one_with_names():
    ready = Endpoint(method="GET", path="/v2/models/ready")
    with pytest.raises(MethodNotAllowed):
        ask("/v2/models/ready", ready, Endpoint(method="POST", path="/v2/models/{id}"), method="POST")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models{id}",
        "/v1/{id}s",
        "/a/{id}/{id}/{id}",
        "/v1/{name}",
        "/v1/ models",
        "",
        "/v1/{id}/{name}",
        "/v1//{id}x",
    ],
)
def test_a_contract_has_it_as_a_whole_segment_twice_at_most(path):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"method": "GET", "path": path}, Endpoint)
    assert msgspec.convert({"method": "GET", "path": "/v1/models/{id}"}, Endpoint) == ONE
