"""The aims of each row, as ratios within one run of the bench, and whether they are reached."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.peers.work import Row


@dataclass(frozen=True)
class Figures:
    """Medians of one system on one row."""

    seconds: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Verdict:
    """One aim with what was found; `cpu` is the same ratio in CPU seconds, where the aim is a ratio."""

    aim: str
    found: float
    most: float
    cpu: float | None = None

    @property
    def holds(self) -> bool:
        return self.found <= self.most

    def __str__(self) -> str:
        cpu = f", in CPU {self.cpu:.2f}" if self.cpu is not None else ""
        return f"{'holds ' if self.holds else 'MISSED'} {self.aim}: {self.found:.2f} (at most {self.most:g}{cpu})"


FLOOR = {"braid": 1.3, "braid recorded prefect": 1.8}
"""The most times the seconds of bare threads, for the row of real texts."""


def verdicts(row: Row, figures: Mapping[str, Figures]) -> Iterator[Verdict]:
    """The aims of one row that its figures allow to judge, by label of a system and its batches."""
    yield from _ratios(figures, "braid", "hamilton", 1.0, batches=("", ", one"))
    yield from _ratios(figures, "braid recorded", "braid", 2.0)
    yield from _ratios(figures, "braid recorded", "dbos", 1.0, batches=("", ", one"))
    # Where the size of batches is left to Braid, the numbers of task runs differ.
    yield from _ratios(figures, "braid prefect", "prefect", 1.0, batches=("", ", one", ", batched"))
    yield from _ratios(figures, "braid recorded prefect", "prefect", 1.1, batches=("", ", one", ", batched"))
    if row.name == "texts":
        for system, most in FLOOR.items():
            yield from _ratios(figures, system, "threads", most)
    if row.name == "documents" and (auto := figures.get("braid recorded prefect, auto")) is not None:
        yield Verdict("seconds of braid recorded prefect, auto", auto.seconds, 0.8)
    if row.name in ("paper", "documents"):
        for label in figures:
            if label.startswith("braid") and "prefect" in label:
                yield Verdict(f"peak MB of {label}", figures[label].peak_mb, 110.0)


def _ratios(
    figures: Mapping[str, Figures], system: str, other: str, most: float, *, batches: tuple[str, ...] = ()
) -> Iterator[Verdict]:
    for label, each in figures.items():
        name, comma, batch = label.partition(",")
        if name != system or (batches and comma + batch not in batches):
            continue
        # Peers without batches are compared without them.
        reference = figures.get(other + comma + batch)
        if reference is not None:
            yield Verdict(
                f"{label} / {other}", each.seconds / reference.seconds, most, each.cpu_s / max(reference.cpu_s, 0.01)
            )
