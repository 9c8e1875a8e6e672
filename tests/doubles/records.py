"""Hypothesis strategies of records, by their types' own words: every value that a record's types allow may come."""

from collections.abc import Callable
from typing import Any

import msgspec
import msgspec.inspect as schema
from hypothesis import strategies as st

from cloister.formats.appraisal_policy import (
    BOOT_PCRS,
    AzureSnpPlatform,
    AzureTdxPlatform,
    SnpPlatform,
    VerifierPlatform,
)
from cloister.formats.snp_policy import SnpImage, SnpMinimum
from cloister.formats.snp_tcb import Product
from cloister.formats.tcb_info import TcbStatus
from cloister.formats.tdx_policy import IntelTcbPolicy
from cloister.formats.tpm_policy import TpmPolicy

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
EXPRESSIONS = st.lists(st.sampled_from(["true", "a.b >= -3", "name in ['x', \"y\"] || !off"]), max_size=3).map(tuple)


def records(record):
    """Values of the msgspec struct `record`; what its `__post_init__` has against them is the caller's to see to."""
    return _of(schema.type_info(record))


def _of(kind):
    if isinstance(kind, schema.Metadata):
        return _of(kind.type)
    return _STRATEGIES[type(kind)](kind)


def _struct(kind):
    members = {field.name: _of(field.type) for field in kind.fields}
    if "expressions" in members:
        members["expressions"] = EXPRESSIONS
    mended = _MENDED.get(kind.cls, lambda values: values)
    return st.fixed_dictionaries(members).map(lambda values: kind.cls(**mended(values)))


def _minimum(values):
    """Only Turin has an FMC."""
    return values if values["product"] is Product.TURIN else values | {"fmc": 0}


def _tcb(values):
    """Nothing that Intel revoked."""
    return values | {"statuses": tuple(one for one in values["statuses"] if one is not TcbStatus.REVOKED)}


def _tpm(values):
    """No PCR that software resets."""
    return values | {"pcrs": {index % 16: ones for index, ones in values["pcrs"].items()}}


def _guest(values):
    """Each launch measurement boots a workload that is said."""
    measurements = sorted(set(values["report"].measurements))
    images = tuple(SnpImage(measurement=one, workload=one[::-1]) for one in measurements)
    return values | {"images": images}


def _vm(values):
    """The whole boot is held."""
    tpm = values["vm"].tpm
    whole = msgspec.structs.replace(tpm, bank="sha256", pcrs=dict.fromkeys(BOOT_PCRS, ()) | tpm.pcrs)
    return values | {"vm": msgspec.structs.replace(values["vm"], tpm=whole)}


def _verifiers(values):
    """Each name once."""
    return values | {"verifiers": tuple({one.name: one for one in values["verifiers"]}.values())}


_MENDED = {
    VerifierPlatform: _verifiers,
    SnpMinimum: _minimum,
    IntelTcbPolicy: _tcb,
    SnpPlatform: _guest,
    TpmPolicy: _tpm,
    AzureSnpPlatform: _vm,
    AzureTdxPlatform: _vm,
}  # what their own words say beyond their types


def _integer(kind):
    low = kind.ge if kind.ge is not None else 0
    high = kind.le if kind.le is not None else kind.lt - 1 if kind.lt is not None else 2**53
    return st.integers(low, high)


def _text(kind):
    if kind.pattern is not None:
        return st.from_regex(kind.pattern.replace("$", r"\Z"), fullmatch=True).filter(
            lambda text: kind.max_length is None or len(text) <= kind.max_length
        )
    return TEXT.map(lambda text: text.ljust(kind.min_length or 0, "x"))


def _many(kind):
    limit = min(kind.max_length or 3, 3)
    return st.lists(_of(kind.item_type), min_size=kind.min_length or 0, max_size=limit).map(tuple)


def _mapping(kind):
    return st.dictionaries(_of(kind.key_type), _of(kind.value_type), min_size=kind.min_length or 0, max_size=3)


_STRATEGIES: dict[type, Callable[[Any], st.SearchStrategy[Any]]] = {
    schema.StructType: _struct,
    schema.UnionType: lambda kind: st.one_of(*map(_of, kind.types)),
    schema.LiteralType: lambda kind: st.sampled_from(kind.values),
    schema.EnumType: lambda kind: st.sampled_from(list(kind.cls)),
    schema.IntType: _integer,
    schema.BoolType: lambda _: st.booleans(),
    schema.StrType: _text,
    schema.BytesType: lambda kind: st.binary(min_size=kind.min_length or 0, max_size=kind.max_length or 64),
    schema.VarTupleType: _many,
    schema.TupleType: lambda kind: st.tuples(*map(_of, kind.item_types)),
    schema.DictType: _mapping,
}
