"""What a service's settings type refuses: `cloister config check` and the service's start ask the same type."""

from __future__ import annotations

import pytest

from cloister.cli.service import settings_record
from cloister.hosting.settings import BadSettings, load

URL = "http://127.0.0.1:1"
TLS = '[tls]\ncertificate = "c"\nkey = "k"\n'
CLIENTS = 'client_ca = "ca"\nclients = ["kms.test"]\n'
GOOD = {
    "witness": 'port = 0\nfolder = "f"\nname = "n"\nkey = "k"\nlogs = ["l"]\n',
    "ledger": 'port = 0\nfolder = "f"\norigin = "o"\nkey = "k"\nwitnesses = []\nquorum = 0\n',
    "kms": f'port = 0\nledger_urls = ["{URL}"]\nconstitution = "c"\n',
    "gateway": f'port = 0\nkms_urls = ["{URL}"]\ncontract = "c"\nstate = "s"\nrun_folder = "r"\n',
    "verifier": 'port = 0\nissuer = "https://v.test"\nfolder = "f"\npolicies = {gateways = "p"}\n',
    "relay": f'port = 0\nbundle_urls = ["{URL}/b"]\ngateway_urls = ["{URL}"]\n',
    "proxy": f'port = 0\nrelay_url = "{URL}"\ntrust_policy = "t"\nmemory = "m"\ntoken = "t"\nreceipts = "r"\n',
    "deployment": 'port = 0\nfolder = "/f"\ndeployment = "d"\nmachine = "m"\nfolders = []\n'
    f'operators = ["{"ab" * 32}"]\n',
}
SOFTWARE = 'platform_key = "k"\n'


def loaded(tmp_path, service, text):
    config = tmp_path / f"{service}.toml"
    config.write_text(text)
    return load(settings_record(service), service=service, config=config, environ={}, flags={})


def complete(service):
    return GOOD[service] + (SOFTWARE if service in ("kms", "gateway") else "")


@pytest.mark.parametrize("service", GOOD)
def test_settings_that_fit_are_taken(tmp_path, service):
    assert loaded(tmp_path, service, complete(service)).address == "127.0.0.1"


@pytest.mark.parametrize("service", GOOD)
def test_no_service_is_open_to_other_machines_without_tls(tmp_path, service):
    with pytest.raises(BadSettings, match=f"{service}.toml: 0.0.0.0 is not served without TLS"):
        loaded(tmp_path, service, complete(service) + 'address = "0.0.0.0"\n')


@pytest.mark.parametrize("service", GOOD)
def test_a_port_is_one_of_tcp(tmp_path, service):
    with pytest.raises(BadSettings, match="line 1: port must be a whole number from 0 to 65535, not 99999999"):
        loaded(tmp_path, service, complete(service).replace("port = 0", "port = 99999999"))


@pytest.mark.parametrize("service", ["kms", "gateway"])
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the software TEE needs `platform_key`"),
        ('platform = "auto"\n' + SOFTWARE, "platform_key is the software TEE's, and platform is auto"),
    ],
    ids=["without its key", "with the other's key"],
)
def test_a_platform_has_what_belongs_to_it(tmp_path, service, text, sentence):
    with pytest.raises(BadSettings, match=f"{service}.toml: {sentence}"):
        loaded(tmp_path, service, GOOD[service] + text)


def test_hardware_needs_no_key_and_shows_its_gpus(tmp_path):
    assert loaded(tmp_path, "gateway", GOOD["gateway"] + 'platform = "auto"\ngpus = true\n').tee().gpus


OTHER = "http://other.test:1"
ENDORSEMENTS = '[endorsements]\nfolder = "e"\n[endorsements.vendors]\n'


@pytest.mark.parametrize(
    ("service", "text", "sentence"),
    [
        ("gateway", complete("gateway") + "gpus = true", "gpus: nothing ties a GPU to a software TEE"),
        ("gateway", complete("gateway") + 'model = "m"', "the engine speech takes no model: name none, or choose"),
        ("gateway", complete("gateway") + 'engine = "transformers"', "the engine transformers computes with a"),
        ("gateway", complete("gateway") + "engine = 1", r"one of speech, .*, or the folder of an upstream.*not 1"),
        ("kms", complete("kms") + 'address = "localhost"', "it is no IP address"),
        ("kms", complete("kms") + f'address = "0.0.0.0"\n{TLS}', "0.0.0.0 is not served to everyone"),
        ("relay", complete("relay") + TLS + CLIENTS, "this service asks no caller who it is"),
        ("verifier", complete("verifier") + TLS + CLIENTS, "this service asks no caller who it is"),
        ("verifier", complete("verifier").replace('gateways = "p"', ""), "one policy or more"),
        ("kms", complete("kms").replace(URL, OTHER), "is not on this machine: write https://"),
        ("gateway", complete("gateway").replace(URL, "https://kms.test"), r"needs the table \[peers\]"),
        ("relay", complete("relay").replace(f'["{URL}"]', f'["{URL}", "{OTHER}"]'), "is not on this machine"),
        ("ledger", complete("ledger").replace("[]", f'[{{vkey = "v", url = "{OTHER}"}}]'), "is not on this machine"),
        ("proxy", complete("proxy").replace(URL, OTHER), "is not on this machine"),
        (
            "deployment",
            complete("deployment").replace('"/f"', '"f"'),
            "f is not absolute: folder and folders begin with",
        ),
        ("deployment", complete("deployment").replace("folders = []", 'folders = ["x"]'), "x is not absolute"),
        ("deployment", complete("deployment").replace(f'"{"ab" * 32}"', ""), "operators names one public key or more"),
        ("deployment", complete("deployment").replace("ab" * 32, "AB"), "operators"),
        ("deployment", complete("deployment") + 'roles = ["deployment"]', "roles"),
        ("proxy", complete("proxy") + 'log_level = "loud"', 'one of debug, error, info, warning, not "loud"'),
        (
            "kms",
            complete("kms") + ENDORSEMENTS + f'amd_kds_url = "{OTHER}"',
            "line 7: endorsements.vendors: http://other.test:1 is not the address of AMD's key distribution service",
        ),
    ],
    ids=lambda value: "settings" if "\n" in value else value,
)
def test_what_a_service_would_refuse_is_refused_with_its_settings(tmp_path, service, text, sentence):
    with pytest.raises(BadSettings, match=sentence):
        loaded(tmp_path, service, text)


VOUCHED = '[verifier]\nname = "the partner"\nurl = "{url}"\npolicy = "gateways"\naudience = "https://kms.test"\n'


def test_a_gateway_is_told_whose_word_it_shows(tmp_path):
    settings = loaded(tmp_path, "gateway", complete("gateway") + VOUCHED.format(url=URL))
    assert (settings.verifier.name, settings.verifier.url) == ("the partner", URL)
    with pytest.raises(BadSettings, match="http://elsewhere"):
        loaded(tmp_path, "gateway", complete("gateway") + VOUCHED.format(url="http://elsewhere.test"))
    with pytest.raises(BadSettings, match="policy"):
        loaded(tmp_path, "gateway", complete("gateway") + VOUCHED.format(url=URL).replace('policy = "gateways"\n', ""))
