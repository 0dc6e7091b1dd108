"""The values everything else is made of: boxes, levels, chunk grids, URLs, provenance. No I/O."""
