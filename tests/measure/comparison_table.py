"""The largest differences between two sides, as lines for the end of a test run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ComparisonTable:
    """For each measure: how many clips were compared, how many were equal, the worst and its name."""

    rows: list[tuple[str, int, int, float, str, str]] = field(default_factory=list)

    def add(self, measure: str, differences: dict[str, float], unit: str) -> None:
        worst = max(differences, key=lambda name: differences[name])
        equal = sum(difference < 1e-6 for difference in differences.values())
        self.rows.append((measure, len(differences), equal, differences[worst], unit, worst))

    def lines(self) -> list[str]:
        return [
            f"{measure:<24}{clips:>4} clips, {equal:>3} equal, worst {worst:.1e} {unit:<6} {name}"
            for measure, clips, equal, worst, unit, name in self.rows
        ]
