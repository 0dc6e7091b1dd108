"""What volumekit has to reach, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.ours import CLOUDVOLUME, OURS, TENSORSTORE

Values = Mapping[str, float]


@dataclass(frozen=True)
class Bar:
    """One requirement.

    Attributes
    ----------
    text : str
        As the table shows it.
    peer : str
        In whose row.
    needs : tuple of str
        Whose measurements it takes, besides volumekit's.
    holds : callable
        Decides, given one number per contestant.
    """

    text: str
    peer: str
    needs: tuple[str, ...]
    holds: Callable[[Values], bool]

    def verdict(self, values: Values) -> bool | None:
        """Tell whether volumekit reaches it, None if somebody it takes was not measured."""
        if not all(name in values for name in (OURS, *self.needs)):
            return None
        return self.holds(values)


def at_most(ratio: float, peer: str) -> Bar:
    """Ask for at most so many times what the peer takes."""
    return Bar(f"<= {ratio:.2f}x", peer, (peer,), lambda values: values[OURS] <= ratio * values[peer])


def at_most_more(seconds: float, peer: str) -> Bar:
    """Ask for at most so many seconds more than the peer takes."""
    text = f"<= +{seconds * 1e3:g} ms"
    return Bar(text, peer, (peer,), lambda values: values[OURS] <= values[peer] + seconds)


def at_most_beyond(ratio: float, peer: str, base: str) -> Bar:
    """Ask for at most so many times what the peer takes, once what the base takes is taken off either."""

    def holds(values: Values) -> bool:
        return values[OURS] - values[base] <= ratio * (values[peer] - values[base])

    return Bar(f"<= {ratio:.2f}x beyond {base}", peer, (peer, base), holds)


def at_most_itself(value: float, text: str) -> Bar:
    """Ask for at most so much, whatever others reach."""
    return Bar(f"<= {text}", OURS, (), lambda values: values[OURS] <= value)


def faster(times: float, peer: str) -> Bar:
    """Ask for so many times the peer's speed."""
    return Bar(f">= {times:g}x faster", peer, (peer,), lambda values: values[peer] >= times * values[OURS])


def share_of_lead(share: float) -> Bar:
    """Ask for so much of the lead over CloudVolume that TensorStore has in the same run."""

    def holds(values: Values) -> bool:
        lead = values[CLOUDVOLUME] / values[TENSORSTORE]
        return values[CLOUDVOLUME] / values[OURS] >= share * lead

    return Bar(f">= {share:g} of TS's lead", CLOUDVOLUME, (CLOUDVOLUME, TENSORSTORE), holds)
