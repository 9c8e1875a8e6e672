"""What people write into files, or put beside a model."""

from __future__ import annotations

import msgspec
from tests.doubles import converted_models
from tests.doubles.made_evidence import made_evidence
from tests.doubles.node_manifests import MANIFEST_FILE, sample_manifest, sample_state
from tests.doubles.plain_models import MODEL_SAMPLES
from tests.doubles.section_world import sample_section
from tests.doubles.upstreams import written as upstream_definition
from tests.fuzz.target import Targets

from cloister.cli.explained.formats import explain
from cloister.cli.policy_examples import EXAMPLES, example_text
from cloister.engines import ctranslate2_file, whisper_settings, whisper_weights
from cloister.engines.self_test import parse as parse_self_test
from cloister.engines.whisper_weights import Sizes
from cloister.formats import canonical
from cloister.formats.appraisal_policy_file import (
    no_comment,
    parse_appraisal_policy,
)
from cloister.formats.deployment_state import parse_deployment_state
from cloister.formats.hyper_protect import (
    EncryptedContract,
    EncryptedSection,
    format_encrypted_contract,
    parse_encrypted_contract,
)
from cloister.formats.hyper_protect_section import parse_hyper_protect_section
from cloister.formats.model_registration import ModelRegistration, parse_model_registration
from cloister.formats.node_manifest import SentRevisions, parse_node_manifest, parse_sent_revisions
from cloister.formats.node_manifest_file import parse_manifest_file
from cloister.formats.policy_expression import compile_expression
from cloister.formats.section import encode_section, parse_section
from cloister.formats.section_file import format_section_file, parse_section_file
from cloister.formats.upstream import parse_upstream
from cloister.secret import SecretBytes

HYPER_PROTECT = EncryptedContract(*(EncryptedSection(bytes(256), bytes(8), bytes(32)).token(),) * 2, b"signature")
SELF_TEST = (
    b'{"version": 1, "cases": [{"path": "/v1/x", "body": {"input": "a"}, "expect": {"embedding": [0.5], "cosine": 1}}, '
    b'{"path": "/y", "form": {"language": "en"}, "file": "a/b.wav", "expect": {"contains": "a", "status": 200}}]}'
)
WHISPER = Sizes(converted_models.TOKENS, bands=80, layers=1, heads=converted_models.HEADS)


def file_targets() -> Targets:
    """Settings, definitions, sections, manifests, policies, models."""
    return {
        "self_test": (parse_self_test, [SELF_TEST]),
        "whisper_weights": (
            lambda data: whisper_weights.hold(ctranslate2_file.parse(data)),
            [converted_models.ModelBin().data()],
        ),
        "whisper_config": (
            lambda data: whisper_settings.hold_config(data, WHISPER, multilingual=True),
            [converted_models.written(converted_models.CONFIG)],
        ),
        "whisper_vocabulary": (
            lambda data: whisper_settings.read_vocabulary(whisper_settings.JSON_VOCABULARY, data),
            [converted_models.written(converted_models.VOCABULARY)],
        ),
        "whisper_tokenizer": (whisper_settings.hold_tokenizer, [converted_models.written(converted_models.TOKENIZER)]),
        "whisper_preprocessor": (
            lambda data: whisper_settings.hold_preprocessor(data, 80),
            [converted_models.written(converted_models.PREPROCESSOR)],
        ),
        "upstream": (parse_upstream, [upstream_definition().encode()]),
        "section_file": (
            lambda data: parse_section_file(SecretBytes(data)),
            [format_section_file(sample_section("workload"), comment=no_comment).reveal()],
        ),
        "hyper_protect": (parse_encrypted_contract, [format_encrypted_contract(HYPER_PROTECT).encode()]),
        "hyper_protect_section": (
            lambda data: parse_hyper_protect_section(SecretBytes(data)),
            [b"type: env\nlogging:\n  x: y\nsigningKey: |\n  A\nenv:\n  A: 'it''s'\n  B: \"b\"\n  C: plain\n"],
        ),
        "node_manifest": (parse_node_manifest, [canonical.encode(sample_manifest())]),
        "node_manifest_file": (parse_manifest_file, [MANIFEST_FILE.encode()]),
        "deployment_state": (parse_deployment_state, [msgspec.json.encode(sample_state())]),
        "sent_revisions": (parse_sent_revisions, [canonical.encode(SentRevisions(revisions=(b"signed",)))]),
        **MODEL_SAMPLES,
        "model_registration": (parse_model_registration, [canonical.encode(sample_registration())]),
        "section": (
            lambda data: parse_section(SecretBytes(data)),
            [encode_section(sample_section("workload")).reveal()],
        ),
        "appraisal_policy_file": (parse_appraisal_policy, [example_text(name).encode() for name in EXAMPLES]),
        "policy_expression": (
            lambda data: compile_expression(data.decode("latin-1")),
            [
                b"reported_tcb.snp >= 24 && (product == 'Milan' || !policy.smt)",
                b'size(a) in [1, -0x2] && b.endsWith("c")',
            ],
        ),
        "explained": (explain, list(made_evidence().values())),
    }


def sample_registration() -> ModelRegistration:
    """An owner's, with a signature."""
    return ModelRegistration(contract=bytes(32), name="a", model=bytes(32), signature=bytes(32))
