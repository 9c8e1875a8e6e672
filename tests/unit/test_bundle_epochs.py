"""What a client checks of all that the KMS signed before anything leaves its machine, a broken link a row."""

import msgspec
import pytest
from tests.doubles.bundle_case import Rows, require_refused_by

from cloister.crypto.cose import sign1
from cloister.crypto.hpke import X25519_HKDF_SHA256, KemPrivateKey
from cloister.crypto.signing import SigningKey
from cloister.formats import key_config
from cloister.formats.key_bundle import STATE_HEAD_TYPE
from cloister.ledger.statements import entry_digest, sign_statement
from cloister.testing.world import (
    NOON,
    Node,
)

replace = msgspec.structs.replace

ROWS = Rows()
breaks = ROWS.breaks


@breaks("head.signature")
def a_state_told_by_someone_else(case):
    note = case.world.log.checkpoint(at=NOON)
    stranger = SigningKey.generate()
    signed = sign1(stranger, b"head", content_type=STATE_HEAD_TYPE)
    case.bundle = replace(case.world.bundle(note), head=signed)


@breaks("head.checkpoint")
def the_state_of_another_moment(case):
    case.head(checkpoint=bytes(32))


@breaks("head.constitution")
def a_successor_constitution_hidden(case):
    case.head(constitution=bytes(32))


@breaks("head.contract")
def a_successor_contract_hidden(case):
    case.head(contract=bytes(32))


@breaks("head.instances")
def a_head_of_an_instance_that_does_not_count_itself(case):
    world, other = case.world, Node()
    case.rewrite(world.epoch_entries, sign_statement("epoch", world.epoch, (other.sign,)))
    case.rewrite(world.release_entries, sign_statement("release", world.make_release(), (other.sign,)))
    case.head(instances=(other.sign.public,))


@breaks("head.shown")
def a_revoked_gateway_put_back(case):
    bundle = case.world.bundle()
    empty = case.world.headed(replace(bundle, releases=()))
    case.bundle = replace(empty, releases=bundle.releases)


@breaks("head.shown")
def a_gateway_left_out_for_this_client(case):
    case.bundle = replace(case.world.bundle(), releases=())


@breaks("epoch.inclusion")
def an_epoch_that_is_not_in_the_log(case):
    case.unlogged("epochs")


@breaks("epoch.signature")
def an_epoch_of_another_kms(case):
    stranger = SigningKey.generate()
    world = case.world
    case.rewrite(world.epoch_entries, sign_statement("epoch", world.epoch, (stranger,)))
    case.rewrite(world.release_entries, sign_statement("release", world.make_release(), (world.kms.sign,)))


@breaks("epoch.signature")
def a_release_in_the_place_of_an_epoch(case):
    bundle = case.world.bundle()
    case.bundle = case.world.headed(replace(bundle, epochs=bundle.releases))


@breaks("epoch.contract")
def an_epoch_of_another_contract(case):
    case.epoch(contract=bytes(32))


@breaks("epoch.chain")
def an_epoch_slipped_in(case):
    case.next_epoch(previous=bytes(32))


@breaks("epoch.chain")
def an_epoch_number_left_out(case):
    case.next_epoch(number=3)


@breaks("epoch.active")
def an_active_epoch_that_is_not_shown(case):
    case.head(epoch=2)


@breaks("epoch.window")
def an_epoch_past_its_window(case):
    case.epoch(not_after=NOON - 60)


@breaks("epoch.latest")
def a_pending_epoch_shown_as_the_one_in_use(case):
    case.epoch(not_before=NOON + 1)


@breaks("epoch.latest")
def a_key_of_its_own_for_some_clients_beside_the_one_in_use(case):
    case.next_epoch(not_before=NOON)
    case.head(epoch=1)


@breaks("epoch.key-config")
def a_key_that_is_not_post_quantum(case):
    config = key_config.KeyConfig(1, X25519_HKDF_SHA256, KemPrivateKey.generate(X25519_HKDF_SHA256).public)
    case.epoch(key_config=key_config.encode(config))


@breaks("epoch.key-config")
def a_key_configuration_that_does_not_parse(case):
    case.epoch(key_config=b"noise")


@breaks("epoch.revoked")
def an_active_epoch_that_is_revoked(case):
    world = case.world
    case.head(revoked=(entry_digest(world.log.entries[world.epoch_entries[-1]]),))


@breaks("gateway.inclusion")
def a_release_that_is_not_in_the_log(case):
    case.unlogged("releases")


@breaks("gateway.inclusion")
def releases_out_of_the_logs_order(case):
    world = case.world
    world.release_entries.append(world.log.append(world.log.entries[world.release_entries[0]]))
    bundle = case.bundle
    case.bundle = case.world.headed(replace(bundle, releases=bundle.releases[::-1]))


@breaks("gateway.signature")
def a_receipt_key_of_the_operators_own(case):
    case.release(signer=case.world.parties.operator)


@breaks("gateway.contract")
def a_gateway_of_another_contract(case):
    case.release(contract=bytes(32))


@breaks("gateway.contract")
def a_node_of_another_role(case):
    case.release(role="kms")


@breaks("gateway.epoch")
def a_certificate_left_over_from_an_older_key(case):
    case.release(epoch=bytes(32))


@pytest.mark.parametrize(("check", "row"), ROWS.parameters)
def test_each_broken_link_is_refused_by_its_own_check_alone(check, row):
    require_refused_by(check, row)
