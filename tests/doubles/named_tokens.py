"""Tokens in place of evidence, of each kind that a contract may name: made up, with the parts of them to change."""

import hashlib

import msgspec

from cloister.attest.azure_token import AZURE_TOKEN_STEPS
from cloister.attest.confidential_space import CONFIDENTIAL_SPACE_STEPS
from cloister.attest.evidence import Expected, examine_evidence
from cloister.attest.named_token import EAR_TOKEN_STEPS
from cloister.attest.seen import SEEN_NOTHING
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference, VerifierPlatform
from cloister.formats.contract_verifier import Verifier
from cloister.formats.evidence import Binding, SecuritySettings
from cloister.formats.jws import encode_base64url
from cloister.testing.made_tokens import MadeVerifier, attestation_result, node_claims
from cloister.testing.made_verifiers import (
    Issuer,
    MadeAzure,
    MadeGoogle,
    confidential_space_claims,
    ear_verifier,
    evidence_by,
    snp_guest_claims,
    trust_domain_claims,
)
from cloister.testing.world import NOON, WORKLOAD, Node

replace = msgspec.structs.replace
NODE = Node()
CHALLENGE, SUBJECT = b"c" * 32, b"s" * 32
OURS, AZURE, GOOGLE = MadeVerifier(), MadeAzure(), MadeGoogle()
OTHER_AZURE, OTHER_GOOGLE = MadeAzure("another azure"), MadeGoogle("another google")


class Case:
    """Evidence by one verifier's word with everything in order; a row changes one thing."""

    kind: str
    verifier: Verifier

    def __init__(self):
        self.settings = SecuritySettings(role="gateway", unsafe=(), values={"workers": 4})
        self.keys = NODE.keys
        self.binding = Binding(
            challenge=CHALLENGE,
            role="gateway",
            settings=self.settings.digest(),
            subject=SUBJECT,
            keys=self.keys.thumbprint(),
            gpu=b"",
        )
        self.at = NOON + 10
        self.named = self.verifier.name
        self.altered = None
        self.claims = self.made()

    def made(self):
        """What the verifier says."""
        raise NotImplementedError

    def token(self):
        """The same, signed."""
        raise NotImplementedError

    def policy(self):
        return AppraisalPolicy(unsafe=(), roots="vendors", platforms=(VerifierPlatform(verifiers=(self.verifier,)),))

    def evidence(self):
        token = self.token()
        token = self.altered(token) if self.altered else token
        return evidence_by(self.named, token, self.binding, self.settings, self.keys)

    def examine(self, shown=None):
        reference = RoleReference(role="gateway", workloads=(b"o" * 48, WORKLOAD), settings=(self.settings.digest(),))
        wanted = Expected(CHALLENGE, SUBJECT, reference)
        return examine_evidence(shown or self.evidence(), self.policy(), wanted, at=self.at, seen=SEEN_NOTHING)

    def put(self, **changes):
        self.claims |= changes

    def name(self, **changes):
        self.verifier = replace(self.verifier, **changes)


class Ear(Case):
    kind, verifier, steps = "ear", ear_verifier(OURS), EAR_TOKEN_STEPS

    def made(self):
        node = node_claims(
            subject=SUBJECT.hex(),
            settings=self.settings.digest().hex(),
            keys=self.keys.thumbprint().hex(),
            wrap=hashlib.sha256(self.keys.wrap).hexdigest(),
        )
        nonce = encode_base64url(self.binding.report_data()).decode()
        return {"cloister": node, "eat_nonce": nonce}

    def node(self, **changes):
        self.put(cloister=replace(self.claims["cloister"], **changes))

    def token(self):
        return OURS.token(attestation_result(NODE.sign, **self.claims))


class Rs256(Case):
    """Tokens of other makers; `headers` and `signer` are a row's to change."""

    signer: Issuer

    def __init__(self):
        self.headers: dict[str, object] = {}
        super().__init__()

    def token(self):
        return self.signer.token(self.claims, **self.headers)


class AzureSnp(Rs256):
    kind, verifier, signer, steps = "azure-snp", AZURE.verifier(), AZURE, AZURE_TOKEN_STEPS

    def made(self):
        return snp_guest_claims(self.binding.report_data())


class AzureTdx(Rs256):
    kind, verifier, signer, steps = "azure-tdx", AZURE.verifier(), AZURE, AZURE_TOKEN_STEPS

    def made(self):
        return trust_domain_claims(self.binding.report_data())


class Google(Rs256):
    kind, verifier, signer, steps = "google", GOOGLE.verifier(), GOOGLE, CONFIDENTIAL_SPACE_STEPS

    def made(self):
        return confidential_space_claims(self.binding.qualifying_data().hex())

    def container(self, **changes):
        submods = self.claims["submods"]
        self.put(submods=submods | {"container": submods["container"] | changes})


class GooglePki(Google):
    kind = "google-pki"

    def __init__(self):
        super().__init__()
        self.headers = {"x5c": GOOGLE.chain()}


CASES = (Ear, AzureSnp, AzureTdx, Google, GooglePki)
FOREIGN = (AzureSnp, AzureTdx, Google, GooglePki)
