"""What was swept, in words, for the top of the page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicsteer.report.conditions import Settings, Term, alpha_text, layers_text
from musicsteer.report.loading import Sweep
from musicsteer.report.patches import Patch
from musicsteer.wording import counted


@dataclass(frozen=True)
class Line:
    """A fact, and what is said of it in smaller print."""

    text: str
    detail: str = ""


Fact = tuple[str, list[Line]]

# Of the labels in the prompt sets that come with the program.
COMPARATIVES = {
    "bright": "brighter",
    "calm": "calmer",
    "dark": "darker",
    "dense": "denser",
    "energetic": "more energetic",
    "fast": "faster",
    "happy": "happier",
    "sad": "sadder",
    "slow": "slower",
    "sparse": "sparser",
}


def runs_text(numbers: list[int]) -> str:
    """[0, 1, 2, 7] -> "0–2, 7"."""
    return layers_text(tuple(numbers)).split(" ", 1)[1] if numbers else ""


def bundle_path(sweep: Sweep, folder: Path | None = None) -> str:
    """The bundle as it was given to the sweep, or a word to replace in the command lines.

    folder: whose bundle; sweeps of other precisions have other ones.
    """
    for place, plan in sweep.plans.items():
        model = plan.get("model") if folder in (None, place) else None
        path = model.get("path") if isinstance(model, dict) else model
        if isinstance(path, str) and path:
            return path
    return "BUNDLE"


def licence_of(sweep: Sweep) -> str | None:
    """Licence of the weights: from the plan, or from the bundle if it is still where it was."""
    sources: list[Any] = [plan.get("model") for plan in sweep.plans.values()]
    try:
        manifest = json.loads((Path(bundle_path(sweep)) / "manifest.json").read_text(encoding="utf-8"))
        if manifest["model"]["weights_sha256"] == sweep.model["weights_sha256"]:
            sources.append(manifest["model"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    for source in sources:
        if isinstance(source, dict) and source.get("licence"):
            note = source.get("licence_note")
            return f"{source['licence']}: {note}" if note else str(source["licence"])
    return None


def terms_of(sweep: Sweep) -> list[Term]:
    """Every vector as it was applied somewhere, in order of appearance."""
    conditions = [clip.condition for clip in sweep.clips if clip.condition is not None]
    terms = [term for one in conditions for term in (one.term, *(other for other, _ in one.others))]
    return list(dict.fromkeys(terms))


def title_of(sweep: Sweep) -> str:
    """The concepts: "Tempo and brightness"; without clips there is patching alone."""
    if not sweep.clips:
        return "Activation patching"
    concepts = list(dict.fromkeys(term.concept for term in terms_of(sweep)))
    if not concepts:
        return "Unsteered clips"
    text = concepts[0] if len(concepts) == 1 else f"{', '.join(concepts[:-1])} and {concepts[-1]}"
    return text[:1].upper() + text[1:]


def sentence_of(sweep: Sweep) -> str:
    """What the page is, in one sentence."""
    terms = list({term.concept: term for term in terms_of(sweep)}.values())
    if not sweep.clips:
        return "Which layers of the model carry a difference between prompts."
    if not terms:
        return "Clips of a music model, with nothing steered."
    if all(term.negative in COMPARATIVES and term.positive in COMPARATIVES for term in terms):
        pairs = [f"{COMPARATIVES[term.negative]} or {COMPARATIVES[term.positive]}" for term in terms]
        change = f"made {', '.join(pairs)}"
    else:
        change = ", or ".join(
            f"from {term.negative} to {term.positive}"
            if term.negative and term.positive
            else f"with more or less {term.concept}"
            for term in terms
        )
    return f"Move the slider to hear the same prompt and seed {change}."


def vector_facts(sweep: Sweep) -> list[Line]:
    """A line for each vector file."""
    files = {
        entry.get("sha256"): entry.get("file") for clip in sweep.clips for entry in clip.record["steering"]
    }
    lines = {}
    for term in terms_of(sweep):
        sides = f" from {term.negative} to {term.positive}" if term.negative and term.positive else ""
        details = [Path(files.get(term.sha256) or "").name, term.sha256[:8]]
        lines[term.sha256, term.concept] = Line(f"{term.concept}{sides}", " ".join(filter(None, details)))
    return list(lines.values())


def alphas_text(sweep: Sweep) -> list[str]:
    """The strengths; a line for each concept where they differ."""
    by_concept: dict[str, set[float]] = {}
    for clip in sweep.clips:
        if clip.condition is not None:
            by_concept.setdefault(clip.condition.term.concept, set()).add(clip.alpha)
    texts = {
        concept: ", ".join(map(alpha_text, sorted(alphas | {0.0}))) for concept, alphas in by_concept.items()
    }
    if len(set(texts.values())) == 1:
        return [next(iter(texts.values()))]
    return [f"{concept}: {text}" for concept, text in texts.items()]


def settings_text(settings: list[Settings]) -> list[str]:
    """Sampling settings; those that are off are not named."""
    lines = []
    for one in settings:
        parts = [(name, text) for name, text in one.sampling_parts().items() if text != "none"]
        lines.append(", ".join(f"{name} {text}" for name, text in parts if name != "duration (s)"))
    return list(dict.fromkeys(lines))


def execution_text(settings: list[Settings]) -> list[str]:
    """How clips were computed and measured."""
    lines = []
    for one in settings:
        parts = [(name, text) for name, text in one.execution_parts().items() if text not in ("none", "")]
        lines.append(", ".join(f"{name} {text}" for name, text in parts))
    return list(dict.fromkeys(lines))


def model_fact(model: dict[str, Any], licence: str | None) -> Fact:
    """The model and its licence."""
    details = [
        f"weights {model['weights_sha256'][:8]}",
        f"licence of the weights: {licence}" if licence else "",
    ]
    return "Model", [Line(model.get("name") or "unnamed", "; ".join(filter(None, details)))]


def facts_of(sweep: Sweep, patches: list[Patch]) -> list[Fact]:
    """Pairs of a name and lines of text."""
    patched: Fact = ("Activation patching", [Line(patch.name, patch.counted) for patch in patches])
    facts = _facts_of_sweep(sweep) if sweep.clips else [model_fact(patches[0].model, None)]
    return [
        (name, [line for line in lines if line.text])
        for name, lines in (*facts, patched)
        if any(one.text for one in lines)
    ]


def _facts_of_sweep(sweep: Sweep) -> list[Fact]:
    records = [clip.record for clip in sweep.clips]
    terms = terms_of(sweep)
    prompts = {record["prompt"] for record in records}
    seeds = sorted({record["seed"] for record in records})
    durations = sorted({float(record.get("duration_s") or 0.0) for record in records})
    rates = sorted({record.get("sample_rate_hz") for record in records} - {None})
    layers = dict.fromkeys(layers_text(term.layers).split(" ", 1)[-1] for term in terms)
    settings = list(dict.fromkeys(clip.settings for clip in sweep.clips))
    rates_text = ", ".join(f"{rate:g} Hz" for rate in rates)
    return [
        model_fact(sweep.model, licence_of(sweep)),
        ("Vectors", vector_facts(sweep)),
        ("Strengths", [Line(text) for text in alphas_text(sweep)]),
        ("Strategies", [Line(", ".join(dict.fromkeys(term.strategy for term in terms if term.strategy)))]),
        ("Layers", [Line("; ".join(filter(None, layers)))]),
        ("Rows and unit", [Line(text) for text in dict.fromkeys(f"{one.rows}, {one.unit}" for one in terms)]),
        ("Prompts and seeds", [Line(counted(len(prompts), "prompt"), f"seeds {runs_text(seeds)}")]),
        ("Clips", [Line(f"{len(records)} of {', '.join(f'{s:g} s' for s in durations)}", rates_text)]),
        ("Sampling", [Line(text) for text in settings_text(settings)]),
        ("Computed", [Line(text) for text in execution_text(settings)]),
    ]
