"""The levels that a layout of the conformance kit asks for."""

from volumekit.formats.zarr.create import describe_levels


def levels_of(layout, max_mip):
    """Return the levels of a layout, as arrays with a scale and a translation are told of them."""
    return describe_levels(
        layout.shape,
        layout.dtype,
        channels=layout.channels,
        resolution=(4, 4, 40),
        offset=layout.offset,
        chunk_size=layout.chunk,
        max_mip=max_mip,
    )
