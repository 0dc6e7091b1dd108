"""Keys and byte ranges that every store is tried with."""

KEYS = (
    "info",
    "4_4_40/-9-7_0-16_3-11",
    "deep/er/and/deeper/key",
    "with spaces/a key",
    "schlüssel/键/ключ",
    "100%/%41%2F%zz",
    "what?/a=b&c#d",
    "plus+minus/~tilde/'quote'/\"double\"",
    "back\\slash/[1]*?{a,b}",
    "pipe|zarr:/a:b@c;d",
    "dots/..name/.hidden/na.me",
    "new\nline/tab\t",
)
"""Keys that every store keeps apart and gives back unchanged."""

ODD_KEYS = ("", "/", "a/", "/a", "a//b", "./a", "a\0b", "x" * 5000, "y/" * 3000 + "z", "\udc80", "a\ud800b")
"""Keys that a store may refuse, but only with a documented error."""

RANGES = (
    (0, 0), (2, 4), (0, 10), (8, 20), (10, 12), (20, 30), (3, 3), (5, 2), (None, 3), (4, None), (10, None), (11, None),
    (-3, None), (-10, None), (-30, None), (-3, 9), (-30, 4), (0, 1 << 40), (1 << 40, 1 << 41),
)  # fmt: skip
