"""Every deliberate mistake has to fail the comparison that the honest modules pass."""

from __future__ import annotations

import pytest
from loaded import NAMES, differences, load_shape, modules_of
from mutations import MUTATIONS, Mutation, injected

from musicsteer.torchscript.layer_loop import Modules
from musicsteer.torchscript.parity import BOUND


def test_the_honest_modules_pass() -> None:
    for name in NAMES:
        assert [str(line) for line in differences(load_shape(name), modules_of(name)) if not line.ok] == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mistake_is_noticed(mutation: Mutation) -> None:
    loaded = load_shape(mutation.shape)
    with injected(mutation, loaded.manifest) as manifest:
        modules = loaded.modules()
        wrong = Modules(modules.text_encoder, modules.decoder, modules.codec, manifest)
        noticed = [line for line in differences(loaded, wrong) if not line.ok]
    assert noticed, f"{mutation.name} passes the comparison"
    # Well beyond the bound, not by rounding.
    assert max(line.share for line in noticed) > 3 * BOUND
