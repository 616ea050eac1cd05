"""Long sequences: what would take all memory is refused before it runs, and check counts a copy instead."""

import pytest

import lawful as lw
from lawful.graph.architecture.footprint import MOST, expect_fits, footprint

LLAMA = "family:llama:layers=1:width=8:heads=2:kv_heads=1:hidden=8:vocabulary=7"


def test_footprint_grows_with_the_square_of_positions() -> None:
    long, longer = (footprint(lw.families.llama(1, 8, 2, 1, 8, 7, context=n), 6) for n in (1024, 2048))
    assert 3.5 < longer / long < 4.1
    assert footprint(lw.families.llama(1, 8, 2, 1, 8, 7, context=16), 6) == 0


@pytest.mark.parametrize("ask", [lw.verify, lw.count], ids=["verify", "count"])
def test_long_contexts_are_refused_in_a_sentence(ask) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"4,096 positions takes about [\d,]+ GiB.*context=16"):
        ask(LLAMA)


def test_a_module_made_of_a_network_is_refused_alike() -> None:
    module = lw.families.llama(1, 8, 2, 1, 8, 7).to_torch()
    with pytest.raises(ValueError, match="4,096 positions"):
        lw.verify(module)


def test_check_counts_a_copy_of_a_long_context() -> None:
    found = lw.check(LLAMA)
    assert found.lawful and found.complete and found.copied
    assert "at 4,096 positions are too many" in found.summary


def test_a_network_runs_after_its_footprint_is_taken() -> None:
    arch = lw.families.llama(1, 8, 2, 1, 8, 7, context=160)
    assert 0 < footprint(arch, 6) < MOST
    expect_fits(arch, 6, "this")
    assert lw.verify(arch, samples=1).verdict.name in ("HOLDS", "APPROXIMATE")
