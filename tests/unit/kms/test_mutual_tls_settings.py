"""`[mutual_tls]` of KMS and gateway: what does not fit is said before anything starts."""

from pathlib import Path

import pytest

from cloister.errors import UsageError
from cloister.services.gateway.settings import GatewaySettings
from cloister.services.gateway.settings import MutualTls as OfGateway
from cloister.services.kms.settings import KmsSettings
from cloister.services.kms.settings import MutualTls as OfKms

FILE = Path("/nowhere")


def test_a_kms_names_the_same_replicas_at_both_ports():
    with pytest.raises(UsageError, match="the same instances"):
        KmsSettings(
            port=0,
            ledger_urls=("http://127.0.0.1:1",),
            constitution=FILE,
            platform_key=FILE,
            replicas=("http://127.0.0.1:2",),
            mutual_tls=OfKms(port=0),
        )


def test_a_gateway_names_the_same_instances_at_both_ports():
    with pytest.raises(UsageError, match="the same instances"):
        GatewaySettings(
            port=0,
            kms_urls=("http://127.0.0.1:2", "http://127.0.0.1:3"),
            contract=FILE,
            state=FILE,
            run_folder=FILE,
            platform_key=FILE,
            mutual_tls=OfGateway(kms_urls=("https://127.0.0.1:4",)),
        )


def test_an_identity_is_shown_over_tls_only():
    with pytest.raises(ValueError, match="https"):
        OfGateway(kms_urls=("http://127.0.0.1:4",))
    with pytest.raises(ValueError, match="https"):
        OfKms(port=0, replicas=("http://127.0.0.1:4",))
