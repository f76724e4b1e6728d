"""xp.cfg is read as OmegaConf reads it."""

from __future__ import annotations

from typing import Any

import pytest

from musicsteer.torchscript.source import CheckpointError
from musicsteer.torchscript.xp_config import read_config

TEXT = """
sample_rate: 32000
channels: 1
name: encodec
which: rate
rates: {rate: 50, list: [4, 8, '${..rate}', '${.0}']}
encodec: {sample_rate: '${sample_rate}', channels: '${channels}', causal: false}
seanet:
  channels: ${encodec.channels}
  causal: ${encodec.causal}
  copy: ${.channels}
  decoder: {causal: '${..causal}', sample_rate: '${...sample_rate}'}
chosen: ${rates.${which}}
label: ${name}_${channels}ch at ${seanet.causal}
first: ${rates.list[1]}
second: ${rates.list.0}
alias: ${seanet}
through: ${alias.copy}
literal: \\${name}
later: ???
empty: null
dora: {dir: '/checkpoint/${oc.env:NOBODY_SETS_THIS}/out'}
"""
# Path -> its value, by OmegaConf 2.3.0.
VALUES = {
    "encodec": {"sample_rate": 32000, "channels": 1, "causal": False},
    "seanet.causal": False,
    "seanet.copy": 1,
    "seanet.decoder": {"causal": False, "sample_rate": 32000},
    "rates.list": [4, 8, 50, 4],
    "chosen": 50,
    "label": "encodec_1ch at False",
    "first": 8,
    "second": 4,
    "alias.decoder.sample_rate": 32000,
    "through": 1,
    "literal": "${name}",
    "empty": None,
    "nowhere.at.all": None,
}


@pytest.mark.parametrize(("path", "value"), VALUES.items())
def test_references_are_resolved(path: str, value: Any) -> None:
    assert read_config(TEXT, "file").get(path) == value


@pytest.mark.parametrize(("path", "value"), VALUES.items())
def test_omegaconf_says_the_same(path: str, value: Any) -> None:
    omegaconf = pytest.importorskip("omegaconf").OmegaConf
    found = omegaconf.select(omegaconf.create(TEXT), path)
    assert (omegaconf.to_container(found, resolve=True) if hasattr(found, "_content") else found) == value


REFUSED = {
    "a resolver": ("a: ${oc.env:HOME}", "${oc.env:HOME} in xp.cfg needs the resolver oc.env"),
    "itself": ("a: ${b}\nb: ${a}", "refers to itself"),
    "nothing": ("a: ${b}", "${b} in xp.cfg refers to a setting without a value"),
    "not given": ("a: ${b}\nb: ???", "${b} in xp.cfg refers to a setting without a value"),
    "above all": ("a: ${..b}\nb: 1", "${..b} in xp.cfg leads out of the configuration"),
    "text": ("just text", "xp.cfg holds no settings"),
    "no text": (None, "xp.cfg holds no settings"),
    "not YAML": ("a: [1", "xp.cfg is not YAML"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_resolved_is_named(text: Any, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_config(text, "file").require("a")
    assert str(caught.value).startswith("file: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


NUMBERS = {"a: '30'": "a is '30'", "a: true": "a is True", "a: .nan": "a is nan", "b: 1": "xp.cfg lacks a"}


@pytest.mark.parametrize(("text", "message"), NUMBERS.items())
def test_numbers_are_numbers(text: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_config(text, "file").number("a")
