"""Which clips belong to one curve: everything about steering but the strength, and the sampling settings.

A clip's *settings* are what it shares with the clip it is compared with: sampling (guidance, ...) and
execution (precision, device, build, ...), so that clips which differ in either are never mixed. Its
*condition* is settings and steering without the first vector's alpha; that alpha is the curve's x axis. With
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Fields of a record that have to agree between a steered clip and the unsteered one it is compared with.
_SAMPLING = {
    "negative_prompt": "negative prompt",
    "duration_s": "duration (s)",
    "guidance_scale": "guidance",
    "top_k": "top-k",
    "top_p": "top-p",
    "temperature": "temperature",
}
# Of `execution`, which records and plans both have; the padded text length follows from the prompt.
_EXECUTION = {"batch_size": "batch size", "threads": "threads", "device": "device"}
_DEFAULT_PRIOR = "120.0:1.0"

# Fields of a steering entry that have a place of their own below, or belong to one that has.
_NAMED = {
    "file",
    "sha256",
    "concept",
    "labels",
    "alpha",
    "strategy",
    "layers",
    "source_layer",
    "site",
    "rows",
}
_NAMED |= {"unit", "gate_file", "gate_sha256", "orthogonalize", "alphas"}


def effect_keys(steering: dict[str, Any]) -> list[str]:
    """The other fields, which are there only where they say something else than the default."""
    return [key for key in steering if key not in _NAMED]


@dataclass(frozen=True)
class Settings:
    """Sampling settings in the order of `_SAMPLING`, then a hash of the melody ("" for none); and how the
    clip was computed and measured.
    """

    sampling: tuple[Any, ...]
    execution: tuple[Any, ...]

    @classmethod
    def of(cls, record: dict[str, Any]) -> Settings:
        """The settings of a clip's record, or of a plan."""
        execution = record.get("execution") or {}
        prior = (record.get("measures") or {}).get("tempo_prior") or record.get("tempo_prior")
        return cls(
            (*map(record.get, _SAMPLING), (record.get("melody_sha256") or "")[:8]),
            (
                precision_text(execution.get("precision") or {}),
                *(execution.get(key) for key in _EXECUTION),
                record.get("format" if "measures" in record else "sample_format"),
                record.get("musicsteer"),
                prior or _DEFAULT_PRIOR,
            ),
        )

    def sampling_parts(self) -> dict[str, str]:
        """What each sampling setting is called and its value as text."""
        parts = _texts((*_SAMPLING.values(), "melody"), self.sampling)
        return parts if parts["melody"] else _texts(_SAMPLING.values(), self.sampling[:-1])

    def execution_parts(self) -> dict[str, str]:
        """The same of computing and measuring."""
        names = ("precision", *_EXECUTION.values(), "format", "build", "tempo prior")
        return _texts(names, self.execution)

    def parts(self) -> dict[str, str]:
        """Both."""
        return self.sampling_parts() | self.execution_parts()


def _texts(names: Iterable[str], values: Iterable[Any]) -> dict[str, str]:
    return {
        name: "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in zip(names, values, strict=True)
    }


def precision_text(precision: dict[str, str]) -> str:
    """{"decoder": "int8", "codec": "f32", ...} -> "int8, codec f32": the decoder's, and what differs."""
    decoder = precision.get("decoder", "")
    others = [
        f"{name.replace('_', ' ')} {kind}" for name, kind in sorted(precision.items()) if kind != decoder
    ]
    return ", ".join(filter(None, [decoder, *others]))


@dataclass(frozen=True)
class Term:
    """One steering vector as it was applied, without its alpha."""

    concept: str
    negative: str
    positive: str
    sha256: str
    strategy: str
    layers: tuple[int, ...]
    source_layer: int | None
    site: str
    rows: str
    unit: str
    effect: tuple[tuple[str, str], ...] = ()  # what differs from adding the vector at every frame

    @classmethod
    def of(cls, steering: dict[str, Any]) -> Term:
        """The term of one entry of a record's `steering`."""
        labels = steering.get("labels") or {}
        return cls(
            concept=steering.get("concept") or "vector",
            negative=labels.get("negative") or "",
            positive=labels.get("positive") or "",
            sha256=steering.get("sha256") or "",
            strategy=steering.get("strategy") or "",
            layers=tuple(steering.get("layers") or ()),
            source_layer=steering.get("source_layer"),
            site=steering.get("site") or "",
            rows=steering.get("rows") or "",
            unit=steering.get("unit") or "",
            effect=tuple((key, effect_text(steering, key)) for key in effect_keys(steering)),
        )

    def parts(self) -> dict[str, str]:
        """What each property is called and its value as text."""
        parts = {
            "vector": self.concept,
            "file": self.sha256[:8],
            "strategy": self.strategy,
            "layers": layers_text(self.layers),
            "source": self.source_text(),
            "site": self.site,
            "rows": f"{self.rows} rows" if self.rows == "both" else self.rows,
            "unit": f"unit {self.unit}",
            **{key.replace("_", " "): f"{key.replace('_', ' ')} {value}" for key, value in self.effect},
        }
        return {name: text for name, text in parts.items() if text}

    def source_text(self) -> str:
        """ "from layer 3"; nothing where each layer gets its own vector."""
        own = self.source_layer is None or self.layers == (self.source_layer,)
        return "" if own else f"from layer {self.source_layer}"


@dataclass(frozen=True)
class Condition:
    """One curve: settings, the vector whose alpha is the x axis, and further vectors with their alphas."""

    settings: Settings
    term: Term
    others: tuple[tuple[Term, float], ...] = ()

    @classmethod
    def of(cls, record: dict[str, Any]) -> Condition | None:
        """The condition of a clip's record; None for an unsteered clip, which belongs to all curves."""
        steering = record["steering"]
        if not steering:
            return None
        others = tuple((Term.of(entry), float(entry["alpha"])) for entry in steering[1:])
        return cls(Settings.of(record), Term.of(steering[0]), others)

    def parts(self) -> dict[str, str]:
        """Everything about the condition, named."""
        parts = dict(self.term.parts())
        for index, (term, alpha) in enumerate(self.others):
            parts[f"and {index}"] = f"with {' '.join(term.parts().values())} at {alpha_text(alpha)}"
        return parts | {name: f"{name} {value}" for name, value in self.settings.parts().items()}


def effect_text(steering: dict[str, Any], key: str) -> str:
    """One of the effect_keys of an entry as text; a gate with the direction that it compares with."""
    if key == "gate":
        return f"{steering[key]} of {(steering.get('gate_sha256') or 'a file')[:8]}"
    return ",".join(map(str, steering[key])) if key == "heads" else str(steering[key])


def plain_alpha_text(alpha: float) -> str:
    """A strength with its sign, and a bare 0."""
    return f"{alpha:+g}" if alpha else "0"


def alpha_text(alpha: float) -> str:
    """The same with a true minus, for pages."""
    return plain_alpha_text(alpha).replace("-", "−")


def layers_text(layers: tuple[int, ...]) -> str:
    """[2, 3, 4, 7] -> "layers 2–4, 7"."""
    if not layers:
        return ""
    ranges: list[list[int]] = []
    for layer in sorted(set(layers)):
        if ranges and layer == ranges[-1][1] + 1:
            ranges[-1][1] = layer
        else:
            ranges.append([layer, layer])
    text = ", ".join(str(low) if low == high else f"{low}–{high}" for low, high in ranges)
    return f"layer {text}" if len(set(layers)) == 1 else f"layers {text}"


def labels_of(conditions: list[Condition]) -> list[str]:
    """Short names: the vector; if it is steered in several ways, also strategy, layers, and what differs."""
    all_parts = [condition.parts() for condition in conditions]

    def label(parts: dict[str, str]) -> str:
        siblings = [other for other in all_parts if other["vector"] == parts["vector"]]
        shown = {"vector", "strategy", "layers"} if len(siblings) > 1 else {"vector"}
        for name in dict.fromkeys(name for other in siblings for name in other):
            if len({other.get(name) for other in siblings}) > 1:
                shown.add(name)
        return " · ".join(text for name, text in parts.items() if name in shown)

    return [label(parts) for parts in all_parts]


def with_sides(label: str, term: Term) -> str:
    """ "tempo · single" -> "tempo: slow ↔ fast · single"."""
    if not (term.negative and term.positive):
        return label
    return f"{term.concept}: {term.negative} ↔ {term.positive}{label.removeprefix(term.concept)}"
