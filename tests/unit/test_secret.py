import copy
import pickle

import pytest

from cloister.secret import SecretBytes


def test_a_secret_shows_its_length_and_nothing_else():
    assert repr(SecretBytes(b"hunter2")) == str(SecretBytes(b"hunter2")) == "<SecretBytes, 7 bytes>"


def test_secrets_compare_by_value_and_only_with_secrets():
    assert SecretBytes(b"a") == SecretBytes(b"a")
    assert SecretBytes(b"a") != SecretBytes(b"b")
    assert SecretBytes(b"a") != b"a"


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy, hash, "{}".format])
def test_a_secret_refuses_to_be_pickled_copied_hashed_or_formatted(leak):
    with pytest.raises(TypeError):
        leak(SecretBytes(b"hunter2"))
