"""Turns a certain crash into an error: TensorStore aborts the process when a forked child uses it.

The abort happens only where the parent did I/O before the fork, so that is what is remembered.
"""

from __future__ import annotations

import os

from volumekit.errors import ForkError


class _State:
    used = False
    broken = False


def _after_fork() -> None:
    _State.broken = _State.used


os.register_at_fork(after_in_child=_after_fork)


def check() -> None:
    """Note that TensorStore, or threads of ours, are about to be used.

    Raises
    ------
    ForkError
        In a child forked after its parent used TensorStore.
    """
    if _State.broken:
        raise ForkError(
            "this process was forked after its parent had read or written volumes, which cannot work; start "
            "processes with multiprocessing.get_context('spawn') or 'forkserver' (PyTorch: "
            "DataLoader(multiprocessing_context='spawn'))"
        )
    _State.used = True
