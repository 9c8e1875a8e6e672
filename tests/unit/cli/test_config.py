import json

import pytest
from tests.doubles.command_line import cloister_command

from cloister.services.gateway.engine_choice import ENGINES

GOOD = 'port = 8400\nbundle_urls = ["http://127.0.0.1:8401/bundles/00"]\ngateway_urls = ["http://127.0.0.1:8402/gateway"]\n'
GATEWAY = (
    'port = 0\nkms_urls = ["http://127.0.0.1:1"]\ncontract = "c"\nstate = "s"\nrun_folder = "r"\nplatform_key = "k"\n'
)
GIVE_EACH = "give each in the file, as a flag, or as CLOISTER_RELAY__BUNDLE_URLS"

NEEDED = "the service needs it where it starts"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "relay.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text('port = "8400"\nbundel_urls = ""\n')
    return tmp_path


async def test_a_good_file_is_told_so_by_the_service_of_its_name(home):
    ran = await cloister_command("config", "check", "relay.toml", home=home)
    assert (ran.code, ran.out, ran.err) == (0, "✓ relay.toml: settings of relay\n", "")


async def test_every_wrong_setting_is_named_with_its_line_and_what_it_may_be(home):
    ran = await cloister_command("config", "check", "--service", "relay", "relay.toml", "bad.toml", home=home)
    assert ran.code == 2
    assert ran.out.splitlines() == [
        "✓ relay.toml: settings of relay",
        "✗ bad.toml: settings of relay",
        "  bad.toml, line 1: port must be a whole number from 0 to 65535, not a string",
        "  bad.toml, line 2: unknown setting bundel_urls; the nearest that exists is bundle_urls",
        f"  missing settings: bundle_urls (a list of strings), gateway_urls (a list of strings); {GIVE_EACH}",
    ]
    assert ran.err.startswith("cloister: a service would not start with bad.toml\n")


async def test_as_json_each_file_is_a_line(home):
    ran = await cloister_command("config", "check", "--json", "--service", "relay", "relay.toml", "bad.toml", home=home)
    good, bad = map(json.loads, ran.out.splitlines())
    assert good == {"file": "relay.toml", "service": "relay", "good": True, "wrong": [], "absent": []}
    assert (bad["good"], len(bad["wrong"])) == (False, 3)


async def test_a_file_that_does_not_tell_whose_it_is_needs_the_service_named(home):
    ran = await cloister_command("config", "check", "bad.toml", home=home)
    assert ran.code == 2
    assert "bad.toml does not tell by its name whose settings it has; say it with --service NAME" in ran.err


async def test_needed_files_that_are_not_here_are_a_warning(home):
    (home / "verifier.toml").write_text(
        'port = 0\nissuer = "https://v.test"\nfolder = "made"\n[policies]\nhere = "relay.toml"\ngone = "gone.toml"\n'
        '[tls]\ncertificate = "relay.toml"\nkey = "relay.toml/key"\n[endorsements]\nfolder = "made"\n'
    )
    ran = await cloister_command("config", "check", "verifier.toml", home=home)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "✓ verifier.toml: settings of verifier",
        f"  warning: verifier.toml, line 4: policies.gone: there is no gone.toml here; {NEEDED}",
        f"  warning: verifier.toml, line 7: tls.key: there is no relay.toml/key here; {NEEDED}",
    ]


async def test_a_name_that_is_missing_or_a_folder_is_said_to_be_so(home):
    (home / "deploy").mkdir()
    ran = await cloister_command("config", "check", "nothere.toml", home=home)
    assert (ran.code, ran.err.splitlines()[0]) == (2, "cloister: there is no settings file nothere.toml")
    ran = await cloister_command("config", "check", "deploy", home=home)
    assert (ran.code, ran.err.splitlines()[0]) == (2, "cloister: deploy is a folder: name the settings files in it")


async def test_a_file_that_is_missing_or_no_toml_is_named_beside_the_others(home):
    (home / "kms.toml").write_text("port =")
    ran = await cloister_command("config", "check", "relay.toml", "kms.toml", "ledger.toml", home=home)
    assert ran.code == 2
    assert "settings file kms.toml is not TOML" in ran.out
    assert "settings file ledger.toml cannot be read: No such file or directory" in ran.out


async def test_what_is_in_force_is_shown_with_where_it_was_set(home):
    (home / "kms.toml").write_text(
        'port = 1\nledger_urls = ["http://127.0.0.1:2"]\nconstitution = "c"\nplatform_key = "k"\n'
        "[security]\nhead_seconds = 7\n"
    )
    options = ("config", "show", "kms", "--config", "kms.toml", "--json")
    ran = await cloister_command(*options, home=home, CLOISTER_KMS__PORT="9")
    shown = {setting["name"]: setting for setting in json.loads(ran.out)}
    assert (shown["port"]["value"], shown["port"]["place"]) == ("9", "CLOISTER_KMS__PORT")
    assert (shown["constitution"]["value"], shown["constitution"]["place"]) == ('"c"', "kms.toml, line 3")
    assert (shown["security.head_seconds"]["value"], shown["security.head_seconds"]["place"]) == (
        "7",
        "kms.toml, line 5",
    )
    assert (shown["security.epoch_seconds"]["value"], shown["security.epoch_seconds"]["place"]) == ("86400", "default")
    assert shown["follow_seconds"]["may_be"] == "a number"


async def test_the_settings_of_a_local_system_need_no_file(home):
    ran = await cloister_command("config", "show", home=home)
    assert ran.code == 0
    engine, model = ran.out.splitlines()[:2]
    known = ", ".join(ENGINES)
    assert " ".join(engine.split()) == (
        f'engine "speech" default; one of {known}, or the folder of an upstream server (./server)'
    )
    assert model.split() == ["model", "default;", "a", "path"]


async def test_an_engine_that_does_not_go_with_the_model_is_wrong_in_settings(home):
    (home / "settings.toml").write_text('engine = "transformers"\n')
    (home / "gateway.toml").write_text(GATEWAY + 'engine = "echo"\nmodel = "sealed"\n')
    ran = await cloister_command("config", "check", "settings.toml", "gateway.toml", home=home)
    assert ran.code == 2
    wrong = [line for line in ran.out.splitlines() if line.startswith("  ") and "warning" not in line]
    assert [line.split(",")[0].strip() for line in wrong] == [
        "settings.toml: the engine transformers computes with a model of yours",
        "gateway.toml: the engine echo takes no model: name none",
    ]


async def test_wrong_settings_are_refused_rather_than_shown(home):
    ran = await cloister_command("config", "show", "relay", "--config", "bad.toml", home=home)
    assert (ran.code, ran.out) == (2, "")
    assert "3 things are wrong in the settings:" in ran.err


async def test_settings_of_a_system_that_never_ran_say_what_to_do(home):
    ran = await cloister_command("config", "show", "kms", home=home)
    assert ran.code == 2
    assert "name a settings file with --config FILE, or start a system: cloister up" in ran.err
