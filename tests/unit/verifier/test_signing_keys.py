"""The verifier's keys: each is shown before it signs and until its last token is over."""

import stat

import pytest

from cloister.crypto.es384 import Es384Key
from cloister.errors import UsageError
from cloister.services.verifier.signing_keys import KEPT_SECONDS, SHOWN_AHEAD_SECONDS, SigningKeys

START, LIFE = 1_800_000_000, 86_400
SHOWN, SIGNS = START + LIFE - SHOWN_AHEAD_SECONDS, START + LIFE


def opened(folder, at=START):
    return SigningKeys.open(folder, key_seconds=LIFE, at=at)


def test_the_first_key_signs_at_once_and_is_its_owners_alone(tmp_path):
    keys = opened(tmp_path / "keys")
    assert keys.shown() == [keys.signer(at=START).public]
    [file] = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_restart_finds_the_same_key(tmp_path):
    first = opened(tmp_path).signer(at=START)
    assert opened(tmp_path, at=START + 100).signer(at=START + 100).public == first.public


def test_a_successor_is_shown_before_it_signs(tmp_path):
    keys = opened(tmp_path)
    first = keys.signer(at=START)
    keys.turn(at=SHOWN - 1)
    assert keys.shown() == [first.public]
    keys.turn(at=SHOWN)
    keys.turn(at=SHOWN + 1)
    assert len(keys.shown()) == 2
    assert keys.signer(at=SIGNS - 1).public == first.public
    assert keys.signer(at=SIGNS).public == keys.shown()[1] != first.public


def test_the_old_key_is_shown_until_its_tokens_are_over_and_then_its_file_is_gone(tmp_path):
    keys = opened(tmp_path)
    keys.turn(at=SHOWN)
    keys.turn(at=SIGNS + KEPT_SECONDS - 1)
    assert len(keys.shown()) == len(list(tmp_path.iterdir())) == 2
    keys.turn(at=SIGNS + KEPT_SECONDS)
    assert len(keys.shown()) == len(list(tmp_path.iterdir())) == 1
    assert opened(tmp_path, at=SIGNS).signer(at=SIGNS).public == keys.shown()[0]


def test_a_verifier_that_was_off_for_long_shows_a_new_key_before_it_signs_with_it(tmp_path):
    first = opened(tmp_path).signer(at=START)
    late = START + 100 * LIFE
    keys = opened(tmp_path, at=late)
    keys.turn(at=late)
    assert keys.signer(at=late).public == first.public
    assert len(keys.shown()) == 2


def test_a_restart_between_keeps_both_and_the_times(tmp_path):
    keys = opened(tmp_path)
    keys.turn(at=SHOWN)
    again = opened(tmp_path, at=SHOWN + 1)
    assert again.shown() == keys.shown()
    assert again.signer(at=SIGNS).public == keys.shown()[1]


def test_a_clock_that_was_set_back_finds_the_oldest_key(tmp_path):
    keys = opened(tmp_path)
    assert keys.signer(at=START - LIFE).public == keys.shown()[0]


def test_a_key_that_others_may_read_is_refused(tmp_path):
    opened(tmp_path)
    [file] = tmp_path.iterdir()
    file.chmod(0o640)
    with pytest.raises(UsageError, match="readable by others"):
        opened(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no key", Es384Key.generate().to_der().reveal()[:-1]])
def test_a_damaged_key_is_refused_by_its_name(tmp_path, content):
    file = tmp_path / f"{START}.key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(UsageError, match="is damaged"):
        opened(tmp_path)


def test_what_is_no_key_is_not_passed_over(tmp_path):
    (tmp_path / "old.key").touch()
    with pytest.raises(UsageError, match=r"old\.key"):
        opened(tmp_path)


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be used"):
        opened(tmp_path / "file" / "keys")
