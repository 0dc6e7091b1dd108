"""What users type after an option: lists of numbers, boxes."""

from __future__ import annotations

import math
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from volumekit.errors import OptionError
from volumekit.ops.memory import parse_amount

if TYPE_CHECKING:
    from volumekit.model.bbox import Bbox

    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType

_PAIR = re.compile(r"([1-9]\d{0,4})[,x]([1-9]\d{0,4})")
_CHOICE = re.compile(r"\s*([^\s=]+)\s*=\s*([^\s=](?:[^=]*[^\s=])?)\s*")
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_SPAN = re.compile(r"(-?\d{1,19})?:(-?\d{1,19})?")
_SIX = re.compile(r"\s*" + r"[\s,]+".join([r"(-?\d{1,19})"] * 6) + r"\s*")


class Three(_Type):
    """Three numbers separated by commas, or one that stands for all.

    Parameters
    ----------
    kind : type
        int or float.
    positive : bool
        Whether they must be above 0, and finite.
    """

    def __init__(self, kind: type[int] | type[float], *, positive: bool = False) -> None:
        self.kind, self.positive = kind, positive
        self.name = "X,Y,Z"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Parse the text."""
        if not isinstance(value, str):
            return tuple(value)
        parts = value.replace("x", ",").split(",")
        try:
            numbers = tuple(self.kind(part) for part in parts)
        except ValueError:
            numbers = ()
        if len(numbers) == 1:
            numbers *= 3
        if len(numbers) != 3:
            wanted = "integers" if self.kind is int else "numbers"
            self.fail(f"{value!r} is not three {wanted} like 4,4,40", param, ctx)
        if self.positive and not all(0 < n < math.inf for n in numbers):
            self.fail(f"{value!r} is not possible: each number is above 0", param, ctx)
        return numbers


class Two(_Type):
    """Two positive whole numbers, such as the width and the height of a picture."""

    name = "W,H"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Parse the text."""
        match = _PAIR.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            self.fail(f"{value!r} is not two numbers like 1000,700", param, ctx)
        return int(match[1]), int(match[2])


class Box(_Type):
    """A box, ``x0:x1,y0:y1,z0:z1``; an end left out is the volume's.

    Parameters
    ----------
    inclusive : bool
        Whether the last voxels are part of it, as in other programs; six numbers, two an axis, will do then. Else it is
        half-open.
    """

    name = "X0:X1,Y0:Y1,Z0:Z1"

    def __init__(self, *, inclusive: bool = False) -> None:
        self._beyond = int(inclusive)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[slice, ...]:
        """Parse the text into half-open slices."""
        if not isinstance(value, str):
            return tuple(value)
        six = _SIX.fullmatch(value) if self._beyond else None
        text = "{}:{},{}:{},{}:{}".format(*six.groups()) if six else value
        spans = [_SPAN.fullmatch(part.strip()) for part in text.split(",")]
        if len(spans) != 3 or not all(spans):
            example = "0:511,0:511,10:19" if self._beyond else "0:512,0:512,10:20"
            self.fail(f"{value!r} is not a box like {example}", param, ctx)
        ends = [tuple(None if n is None else int(n) for n in span.groups()) for span in spans if span]
        found = [slice(a, None if b is None else b + self._beyond) for a, b in ends]
        if any(s.start is not None and s.stop is not None and s.start >= s.stop for s in found):
            self.fail(f"{value!r} is empty: an end is not above its start", param, ctx)
        return tuple(found)


class At(_Type):
    """Positions on further axes and parts of a dataset, ``t=3,label=cells``."""

    name = "NAME=POSITION,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int | str]:
        """Parse the text; whole numbers become numbers, everything else stays a name."""
        if not isinstance(value, str):
            return dict(value)
        found: dict[str, int | str] = {}
        for part in value.split(","):
            match = _CHOICE.fullmatch(part)
            if match is None:
                self.fail(f"{value!r} is not NAME=POSITION, such as t=3, label=cells or t=3,label=cells", param, ctx)
            name, chosen = match.groups()
            if name in found:
                self.fail(f"{value!r} says twice what {name} is", param, ctx)
            found[name] = int(chosen) if _WHOLE.fullmatch(chosen) else chosen
        return found


class Span(_Type):
    """Two numbers, the lower one first: ``0:65535``."""

    name = "LOW:HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Parse the text."""
        parts = value.split(":") if isinstance(value, str) else value
        try:
            low, high = (float(part) for part in parts)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not two numbers like 0:65535", param, ctx)
        return low, high


class Factor(_Type):
    """The factor from level to level: three numbers, or a name."""

    name = "X,Y,Z|NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the text."""
        if isinstance(value, str) and value[:1].isalpha():
            return Known("volumekit.ops.factors", "LADDERS").convert(value, param, ctx)
        return COUNTS.convert(value, param, ctx)


class Amount(_Type):
    """An amount of memory, such as ``1GB``."""

    name = "AMOUNT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        try:
            return parse_amount(value)
        except OptionError as error:
            self.fail(error.message, param, ctx)


class Known(_Type):
    """A name out of a list that is looked up when it is needed, so that showing help imports nothing.

    Parameters
    ----------
    module, table : str
        Where the list is: a mapping, or a sequence, of a module.
    others : str
        More names.
    """

    def __init__(self, module: str, table: str, *others: str) -> None:
        self._module, self._table, self._others = module, table, others
        self.name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name."""
        names = [*self._others, *getattr(import_module(self._module), self._table)]
        if value not in names:
            self.fail(f"{value!r} is not one of {', '.join(names)}", param, ctx)
        return str(value)


INTEGERS = Three(int)
COUNTS_OF_TWO = Two()
COUNTS = Three(int, positive=True)
SIZES = Three(float, positive=True)
ENCODING = Known("volumekit.codecs", "CODECS")
COMPRESSION = Known("volumekit.codecs.compression", "SUFFIXES", "none")
DATA_TYPE = Known("volumekit.formats.precomputed", "DATA_TYPES")
FORMAT = Known("volumekit.formats", "FORMATS")
NEW_FORMAT = Known("volumekit.volume.create", "MADE")
BOX = Box()
BOX_INCLUSIVE = Box(inclusive=True)
AMOUNT = Amount()
AT = At()
FACTOR = Factor()
SPAN = Span()


def box_of(slices: tuple[slice, ...] | None, bounds: Bbox) -> Bbox:
    """Return the box that an option names; the bounds if it was not given."""
    from volumekit.model.bbox import Bbox

    return bounds if slices is None else Bbox.from_slices(slices, context=bounds, bounded=True)
