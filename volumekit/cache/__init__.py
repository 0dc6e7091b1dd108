"""A copy on disk of what was read from somewhere slow.

``options`` says how a cache is to be, ``index`` keeps account of a cache directory for all processes, ``mirror`` is the
copy of one dataset, ``store`` puts it in front of the dataset's own store.
"""

from volumekit.cache.options import Cache

__all__ = ["Cache"]
