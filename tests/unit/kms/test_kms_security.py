"""The digest of a KMS's settings says everything about them that bears on security."""

from __future__ import annotations

import msgspec
import pytest

from cloister.formats import canonical
from cloister.formats.evidence import SecuritySettings
from cloister.services.kms.security import KmsSecurity, security_settings


def test_the_same_settings_have_the_same_digest():
    assert (
        security_settings(KmsSecurity(), unsafe=()).digest()
        == security_settings(KmsSecurity(epoch_seconds=86_400), unsafe=()).digest()
    )


@pytest.mark.parametrize("name", [field for field in KmsSecurity.__struct_fields__ if field != "kem"])
def test_every_setting_changes_the_digest(name):
    usual = KmsSecurity()
    other = msgspec.structs.replace(usual, **{name: getattr(usual, name) + 1})
    assert security_settings(usual, unsafe=()).digest() != security_settings(other, unsafe=()).digest()


def test_an_unsafe_flag_changes_the_digest():
    usual = security_settings(KmsSecurity(), unsafe=())
    unsafe = security_settings(KmsSecurity(), unsafe=("UnsafeAllowSoftwareTee",))
    assert usual.digest() != unsafe.digest()


def test_the_settings_are_a_record_of_the_format():
    settings = security_settings(KmsSecurity(), unsafe=("UnsafeAllowSoftwareTee",))
    assert canonical.decode(canonical.encode(settings), SecuritySettings, limit=4096) == settings
