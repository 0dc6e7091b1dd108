"""Pyramids of N5 as the field's programs describe them, without voxels: levels of 12 x 10 x 8 and 6 x 5 x 8 voxels."""

import json

RANK3 = {"dimensions": [12, 10, 8], "blockSize": [5, 5, 5], "dataType": "uint8", "compression": {"type": "raw"}}


def plant(folder, documents):
    for path, attributes in documents.items():
        place = folder / path
        place.mkdir(parents=True, exist_ok=True)
        (place / "attributes.json").write_text(json.dumps(attributes))
    return folder


def dataset(dimensions=(12, 10, 8), **more):
    rank = len(dimensions)
    return {**RANK3, "dimensions": [*dimensions], "blockSize": [5, 5, 5, *[1] * (rank - 3)][:rank], **more}


COARSE = (6, 5, 8)


def transform(scale, translate, axes="zyx", **more):
    return {"transform": {"axes": [*axes], "scale": scale, "translate": translate, "units": ["nm"] * 3, **more}}


PYRAMIDS = {
    "n5-viewer": {
        "": {
            "n5": "2.5.0",
            "scales": [[1, 1, 1], [2, 2, 1]],
            "pixelResolution": {"dimensions": [4, 4, 40], "unit": "nm"},
        },
        "s0": dataset(),
        "s1": dataset(COARSE),
    },
    "n5-viewer in micrometres, factors at the levels": {
        "": {"pixelResolution": {"dimensions": [0.004, 0.004, 0.04], "unit": "um"}},
        "s0": dataset(downsamplingFactors=[1, 1, 1]),
        "s1": dataset(COARSE, downsamplingFactors=[2, 2, 1]),
    },
    "everything at the levels": {
        "s0": dataset(pixelResolution=[4, 4, 40], downsamplingFactors=[1, 1, 1]),
        "s1": dataset(COARSE, pixelResolution=[4, 4, 40], downsamplingFactors=[2, 2, 1]),
    },
    "the extents tell the factors": {
        "": {"resolution": [4, 4, 40], "units": ["nm", "nm", "nm"], "axes": ["x", "y", "z"]},
        "s0": dataset(),
        "s1": dataset(COARSE),
    },
    "cosem, at the levels": {
        "s0": dataset(**transform([40, 4, 4], [0, 0, 0])),
        "s1": dataset(COARSE, **transform([40, 8, 8], [0, 2, 2])),
    },
    "cosem, in the group": {
        "": {
            "multiscales": [
                {
                    "name": "",
                    "datasets": [
                        {"path": "s0", **transform([40, 4, 4], [0, 0, 0])},
                        {"path": "s1", **transform([40, 8, 8], [0, 2, 2])},
                    ],
                }
            ]
        },
        "s0": dataset(pixelResolution=[1, 1, 1]),
        "s1": dataset(COARSE),
    },
    "cosem, x first": {
        "s0": dataset(**transform([4, 4, 40], [0, 0, 0], "xyz")),
        "s1": dataset(COARSE, **transform([8, 8, 40], [2, 2, 0], "xyz")),
    },
    "cosem, an order that is named": {
        "s0": dataset(**transform([4, 4, 40], [0, 0, 0], "zyx"[::-1], order="F")),
        "s1": dataset(COARSE, **transform([40, 8, 8], [0, 2, 2], order="C")),
    },
    "ome-zarr's words": {
        "": {
            "multiscales": [
                {
                    "axes": [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"],
                    "datasets": [
                        {"path": "full", "coordinateTransformations": [{"type": "scale", "scale": [40, 4, 4]}]},
                        {
                            "path": "half",
                            "coordinateTransformations": [
                                {"type": "scale", "scale": [40, 8, 8]},
                                {"type": "translation", "translation": [0, 2, 2]},
                            ],
                        },
                    ],
                }
            ]
        },
        "full": dataset(),
        "half": dataset(COARSE),
    },
    "paintera": {
        "": {"painteraData": {"type": "raw"}},
        "data": {"multiScale": True, "resolution": [4, 4, 40], "offset": [0, 0, 0]},
        "data/s0": dataset(),
        "data/s1": dataset(COARSE, downsamplingFactors=[2, 2, 1]),
    },
    "bigdataviewer": {
        "": {"n5": "2.5.0"},
        "setup0": {"downsamplingFactors": [[1, 1, 1], [2, 2, 1]], "dataType": "uint8"},
        "setup0/timepoint0": {"multiScale": True, "resolution": [4, 4, 40]},
        "setup0/timepoint0/s0": dataset(),
        "setup0/timepoint0/s1": dataset(COARSE),
    },
}
