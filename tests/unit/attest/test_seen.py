"""What was seen of endorsements is kept by merging, in any order, and never becomes less."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.attest.seen import SEEN_NOTHING, SeenCollateral, SeenEndorsements, SeenList, intel_kind
from cloister.formats.canonical import decode, encode
from cloister.formats.snp_tcb import Product

KINDS = [intel_kind("TDX", bytes.fromhex("90c06f000000")), intel_kind("SGX", bytes(6))]
NUMBERS = st.integers(0, 2**53)
MEMORIES = st.builds(
    SeenEndorsements,
    st.dictionaries(st.sampled_from(Product), st.builds(SeenList, NUMBERS, NUMBERS)),
    st.dictionaries(st.sampled_from(KINDS), st.builds(SeenCollateral, *[NUMBERS] * 5)),
)


def test_each_part_is_kept_at_its_newest():
    milan, genoa = SeenList(4, 100), SeenList(1, 300)
    tdx, later = SeenCollateral(17, 1, 2, 3, 4), SeenCollateral(16, 5, 6, 2, 1)
    first = SeenEndorsements({Product.MILAN: milan, Product.GENOA: genoa}, {KINDS[0]: tdx})
    second = SeenEndorsements({Product.MILAN: SeenList(3, 200)}, {KINDS[0]: later, KINDS[1]: tdx})
    assert first.merged(second) == SeenEndorsements(
        {Product.MILAN: SeenList(4, 200), Product.GENOA: genoa},
        {KINDS[0]: SeenCollateral(17, 5, 6, 3, 4), KINDS[1]: tdx},
    )


@given(MEMORIES, MEMORIES, MEMORIES)
def test_the_order_of_merging_makes_no_difference(one, two, three):
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(three) == one.merged(two.merged(three))
    assert one.merged(one) == one == one.merged(SEEN_NOTHING)


@given(MEMORIES)
def test_a_memory_is_written_down_and_read_again(memory):
    assert decode(encode(memory), SeenEndorsements, limit=4096) == memory
