"""Looking at volumes: figures, and Neuroglancer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from volumekit.registry import load

if TYPE_CHECKING:
    from volumekit.view.viewer import Viewer
    from volumekit.volume.volume import Volume


class Showing:
    """How a volume is looked at."""

    def plot(
        self,
        *,
        x: int | None = None,
        y: int | None = None,
        z: int | None = None,
        box: Any = None,
        mip: Any = None,
        channel: int | None = None,
        range: tuple[float, float] | None = None,  # noqa: A002  the word every plotting library uses
        ax: Any = None,
    ) -> list[Any]:
        """Draw slices with matplotlib, in true proportions and with a scale bar; labels have colours of their own.

        Parameters
        ----------
        x, y, z : int, optional
            Where to cut, in global voxels of the mip; one panel for each. None of them: three sections through the
            middle.
        box : Bbox or slices, optional
            Draw this part only.
        mip : int or sequence of float, optional
            Default: the current one, or a coarser one where that is larger than a figure shows.
        channel : int, optional
            Which channel. Default: three channels make a colour picture, of any other number the first one is drawn.
        range : tuple of float, optional
            Values that become black and white; default: by percentiles, all slices alike.
        ax : matplotlib.axes.Axes or sequence of them, optional
            Where to draw; default: a new figure.

        Returns
        -------
        list of matplotlib.axes.Axes
            One for each panel.

        Raises
        ------
        OutOfBoundsError
            If a slice or the box lies outside.
        MissingExtraError
            If matplotlib is not installed.

        Examples
        --------
        >>> Volume("data/brain").plot(z=100)  # doctest: +SKIP
        """
        from volumekit.volume.plotting import plot_volume

        volume = cast("Volume", self)
        where = {"x": x, "y": y, "z": z}
        return plot_volume(volume, where, box=box, mip=mip, channel=channel, range=range, ax=ax)

    def view(self, *others: Volume, labels: Volume | Sequence[Volume] = (), browser: bool | None = None) -> Viewer:
        """Show this volume in Neuroglancer, with others over it; nothing leaves this machine.

        Parameters
        ----------
        *others : Volume
            Labels over an image, for instance.
        labels : Volume or sequence of Volume
            What is shown as labels though its format cannot say so, as a stack of images; may be this volume itself.
        browser : bool, optional
            Whether to open a browser. None: outside notebooks, where there is a desktop.

        Returns
        -------
        Viewer
            In a notebook it shows itself. Its ``url`` works as long as this process runs; `Viewer.screenshot` makes a
            picture.

        Raises
        ------
        MissingExtraError
            If the extra ``view`` is not installed.
        OptionError
            If labels are no whole numbers, or have several channels.

        Examples
        --------
        >>> Volume("data/brain").view(Volume("data/labels"))  # doctest: +SKIP
        """
        view = load("volumekit.view.viewer:view[view]")  # by name: it stands upon volumes
        viewer: Viewer = view(self, *others, labels=labels if isinstance(labels, Sequence) else (labels,))
        if not in_notebook() if browser is None else browser:
            viewer.open(anyway=bool(browser))
        return viewer


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None
