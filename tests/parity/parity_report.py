"""The largest errors of a pytest run, for the summary at its end and a JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from comparison import GreedyComparison

from musicsteer.torchscript.parity import Difference


@dataclass
class ParityReport:
    """Maxima by kind of tensor and shape, as shares of the reference's largest value; near ties by shape."""

    maxima: dict[str, dict[str, float]] = field(default_factory=dict)
    choices: dict[str, int] = field(default_factory=dict)
    near_ties: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def add(self, kind: str, shape: str, differences: list[Difference]) -> None:
        by_shape = self.maxima.setdefault(kind, {})
        for d in differences:
            by_shape[shape] = max(by_shape.get(shape, 0.0), d.share)

    def add_greedy(self, kind: str, shape: str, greedy: GreedyComparison) -> None:
        self.add(kind, shape, greedy.differences)
        self.choices[shape] = self.choices.get(shape, 0) + greedy.choices
        self.near_ties.setdefault(shape, []).extend(asdict(tie) for tie in greedy.near_ties)

    def lines(self) -> list[str]:
        """A table: one line a kind, one column a shape."""
        shapes = sorted({shape for by_shape in self.maxima.values() for shape in by_shape})
        width = max((len(kind) for kind in self.maxima), default=4)
        lines = [" " * width + "".join(f"{shape:>18}" for shape in shapes)]
        for kind, by_shape in self.maxima.items():
            cells = (f"{by_shape[s]:>18.1e}" if s in by_shape else f"{'':>18}" for s in shapes)
            lines.append(f"{kind:<{width}}" + "".join(cells))
        ties = sum(len(found) for found in self.near_ties.values())
        lines.append(f"greedy choices {sum(self.choices.values())}, near ties {ties}")
        for shape, found in self.near_ties.items():
            lines += [f"  {shape}: {tie}" for tie in found]
        return lines

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
