"""Info and provenance: reading, editing and committing them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from volumekit.errors import ReadOnlyError
from volumekit.formats.precomputed import Precomputed, create_info, create_sharding
from volumekit.formats.precomputed.create import check_info, coarser_scale, make_scale
from volumekit.formats.precomputed.settings import check_labels, check_members, encoding_settings
from volumekit.formats.precomputed.sharding import scale_sharding
from volumekit.model.provenance import Provenance
from volumekit.model.url import URL
from volumekit.storage.base import ABSENT, Store
from volumekit.storage.headers import JSON, Headed, Headers, cache_control
from volumekit.volume.geometry import Geometry
from volumekit.volume.listing import list_label
from volumekit.volume.source import open_source, read_format, remembered

if TYPE_CHECKING:
    from volumekit.model.level import Level


class Metadata(Geometry):
    """Info and provenance of a volume."""

    @property
    def _remembered(self) -> Store:
        """The store of metadata; with a cache, it answers also when the storage cannot be reached."""
        return remembered(self._store, self._url, self._options.cache)

    @property
    def info(self) -> dict[str, Any]:
        """The info: live where the format is precomputed, an equivalent copy for other formats.

        The copy leaves out levels that cannot be opened.
        """
        if isinstance(self._format, Precomputed):
            return self._format.info
        return self._equivalent_info()

    @info.setter
    def info(self, info: Mapping[str, Any]) -> None:
        if not isinstance(self._format, Precomputed):
            raise ReadOnlyError(f"the metadata of {self._format.name} data is not an info", url=str(self._url))
        self._format = Precomputed(copy.deepcopy(dict(info)))
        self._parsed = None
        self._mip = min(self._mip, len(self._format.levels) - 1)
        self._forget()

    def _equivalent_info(self) -> dict[str, Any]:
        levels = self._format.levels
        return {
            "@type": "neuroglancer_multiscale_volume",
            "type": self.layer_type,
            "data_type": levels[0].dtype.name,
            "num_channels": levels[0].channels,
            "scales": [_equivalent_scale(level) for level in levels if level.placed],
        }

    @property
    def scales(self) -> list[dict[str, Any]]:
        """The ``scales`` of the info."""
        scales: list[dict[str, Any]] = self.info["scales"]
        return scales

    @property
    def scale(self) -> dict[str, Any]:
        """The current mip's entry of ``scales``."""
        return self.mip_scale(self._mip)

    def mip_scale(self, mip: Any) -> dict[str, Any]:
        """Return a mip's entry of ``scales``."""
        number = self.to_mip(mip)
        return self.scales[number] if isinstance(self._format, Precomputed) else _equivalent_scale(self._level(number))

    create_new_info = staticmethod(create_info)
    create_sharding = staticmethod(create_sharding)

    def add_scale(
        self,
        factor: Sequence[int],
        *,
        encoding: str | None = None,
        chunk_size: Sequence[int] | None = None,
        sharding: bool | Mapping[str, Any] | None = None,
        info: dict[str, Any] | None = None,
        encoding_level: int | None = None,
        encoding_effort: int | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """Describe a level that is coarser than the finest; nothing is committed.

        Parameters
        ----------
        factor : sequence of int
            (x, y, z), relative to the finest level. A level of the same voxel size is replaced.
        encoding : str, optional
            Default: the finest level's.
        chunk_size : sequence of int, optional
            Default: the finest level's.
        sharding : bool or dict, optional
            As for `create_new_info`; default: like the finest level.
        info : dict, optional
            Edit this info instead of the volume's.
        encoding_level, encoding_effort : int, optional
            As for `create_new_info`. Default: the finest level's settings, if its encoding is kept.
        **changes
            Further members of the scale, as for `create_new_info`.

        Returns
        -------
        dict
            The new entry of ``scales``. It covers [floor(min / factor), ceil(max / factor)).

        Raises
        ------
        OptionError
            If a factor or a member is impossible, or labels would be stored in an encoding that changes them.
        """
        edited = self.info if info is None else info
        finest = edited["scales"][0]
        check_members(encoding or finest["encoding"], changes)
        settings = encoding_settings(encoding or finest["encoding"], encoding_level, encoding_effort)
        if sharding is not None:
            changes["sharding"] = None
        scale = coarser_scale(finest, factor, encoding=encoding, chunk_size=chunk_size, **settings, **changes)
        what = {"data_type": edited["data_type"], "num_channels": edited.get("num_channels", 1)}
        scale |= scale_sharding(sharding or False, scale, **what)
        check_labels({**edited, "scales": [scale]})
        kept = [old for old in edited["scales"] if list(old["resolution"]) != list(scale["resolution"])]
        ordered = sorted([*kept, scale], key=lambda s: [float(n) for n in s["resolution"]])
        edited["scales"][:] = ordered
        return scale

    def reset_scales(self) -> None:
        """Forget all levels but the finest; nothing is committed and no chunk is deleted."""
        self.info["scales"][:] = self.info["scales"][:1]
        self._mip = 0

    def commit_info(self) -> None:
        """Store the info.

        Raises
        ------
        OptionError
            If it could not be opened again.
        ReadOnlyError
            If this volume cannot be written.
        """
        self._check_metadata_writable()
        if isinstance(self._format, Precomputed):
            check_info(self.info)
        elif not self._draft:
            raise ReadOnlyError(f"the metadata of {self._format.name} data are not edited here", url=str(self._url))
        if self._format.copies:
            self._store.commit(dict.fromkeys(self._format.copies)).result()
        for objects in self._format.commits():
            key = self._format.note
            if key in objects and self._provenance is not None:
                objects = {**objects, key: self._format.noted(objects[key], self._provenance)}  # noqa: PLW2901
            self._remembered.commit(self._described(objects)).result()
        how = self._options
        list_label(self._url, self._format, options=how.storage_options, durable=how.durable)
        self._draft = False
        self._mirror()

    def refresh_info(self) -> dict[str, Any]:
        """Read the info again, and forget edits."""
        how = self._options
        self._format = read_format(self._remembered, self._url, options=how.storage_options, at=how.at)
        self._parsed = None
        self._mip = min(self._mip, len(self._format.levels) - 1)
        self._forget()
        return self.info

    def _check_metadata_writable(self) -> None:
        keeps = isinstance(self._format, Precomputed) or self._format.note is not None
        if not self._store.writable or not keeps:
            raise ReadOnlyError("the metadata of this dataset can only be read", url=str(self._url))
        if self._redirected:
            raise ReadOnlyError("this volume was reached by a redirect; open its target to write", url=str(self._url))

    @property
    def provenance(self) -> Provenance:
        """Where the data comes from; read when first asked for."""
        if self._provenance is None:
            self._provenance = self._read_provenance()
        return self._provenance

    @provenance.setter
    def provenance(self, value: Any) -> None:
        self._provenance = Provenance.from_json(value)

    _provenance: Provenance | None = None

    def _read_provenance(self) -> Provenance:
        key = self._format.note
        value = self._remembered.read(key or "provenance").result()
        if value is None:
            return Provenance()
        return Provenance.from_json(value.data if key is None else self._format.provenance(value.data) or {})

    def refresh_provenance(self) -> Provenance:
        """Read the provenance again, and forget edits."""
        self._provenance = self._read_provenance()
        return self._provenance

    def commit_provenance(self) -> None:
        """Store the provenance.

        Raises
        ------
        MetadataError
            If it could not be read again.
        ReadOnlyError
            If this volume cannot be written.
        ConflictError
            If the provenance is part of other metadata, and somebody else changed them at the same time.
        """
        self._check_metadata_writable()
        self.provenance.validate()
        text, key = self.provenance.serialize(), self._format.note
        if key is None:
            self._remembered.commit(self._described({"provenance": text.encode()})).result()
            return
        value = self._remembered.read(key).result()
        data = self._format.noted(None if value is None else value.data, self.provenance)
        stamp = ABSENT if value is None else value.stamp
        self._remembered.commit(self._described({key: data}), stamp).result()

    def _described(self, objects: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Return metadata with headers, where objects have them: JSON that nobody keeps unasked."""
        if not self._store.headed:
            return objects
        age = self._options.cdn_cache
        headers = Headers(JSON, cache_control(False if age is None else age), required=age is not None)
        return {key: Headed(data, headers) for key, data in objects.items()}

    def copy_info(self) -> dict[str, Any]:
        """Return a deep copy of the info, to edit or to create another volume with."""
        return copy.deepcopy(self.info)

    @property
    def cloudpath(self) -> str:
        """The volume's URL, with its format."""
        return str(self._url)

    @property
    def layer_cloudpath(self) -> str:
        """Another name of `cloudpath`."""
        return str(self._url)

    @property
    def base_cloudpath(self) -> str:
        """The folder that holds the volume."""
        return str(self._url.base)

    @property
    def info_cloudpath(self) -> str:
        """Where the info is."""
        return str(self._url.join("info"))

    @property
    def dataset_name(self) -> str:
        """Name of the folder that holds the volume; assigning it moves there and reads the info."""
        return self._url.base.name

    @dataset_name.setter
    def dataset_name(self, name: str) -> None:
        self._move(self._url.base.base.join(f"{name}/{self._url.name}"))

    @property
    def layer(self) -> str:
        """Name of the volume's own folder; assigning it moves there and reads the info."""
        return self._url.name

    @layer.setter
    def layer(self, name: str) -> None:
        self._move(self._url.base.join(name))

    def _move(self, url: URL) -> None:
        found, self._store, self._format = open_source(
            replace(url, format=self._url.format),
            durable=self._options.durable,
            options=self._options.storage_options,
            cache=self._options.cache,
            at=self._options.at,
        )
        self._url, self._redirected = found, found.kvpath != url.kvpath
        self._parsed = self._provenance = None
        self._mip = min(self._mip, len(self._format.levels) - 1)
        self._forget()


def _equivalent_scale(level: Level) -> dict[str, Any]:
    """Return what an info would say of a level of another format."""
    return make_scale(
        key=level.key,
        size=level.shape[:3],
        offset=level.offset,
        resolution=level.resolution,
        chunk_size=level.chunk[:3],
        encoding="raw",
        block_size=(8, 8, 8),
    )
