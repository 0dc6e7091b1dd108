"""What the design promises and import-linter cannot see."""

import ast
import builtins
import inspect
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import volumekit
from volumekit import errors

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "volumekit").rglob("*.py"))
LONGEST = 400
PUBLIC = {
    "Bbox", "Cache", "ChunkReport", "Vec", "Volume", "VolumeCutout", "__version__", "convert", "downsample", "errors",
    "export", "from_dask", "recompress", "serve", "transfer", "verify",
}  # fmt: skip
IMPORT_SECONDS = 0.05


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def python(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)


def test_no_module_is_too_long():
    assert len(MODULES) > 50
    lengths = {name(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def test_no_module_is_a_drawer_for_odds_and_ends():
    words = {"util", "utils", "helper", "helpers", "misc", "common"}
    assert [name(path) for path in MODULES if words & {path.stem, path.parent.name}] == []


def test_public_names():
    assert set(volumekit.__all__) == set(dir(volumekit)) == PUBLIC
    assert len(volumekit.__all__) == len(PUBLIC)
    for public in PUBLIC:
        assert getattr(volumekit, public) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        volumekit.nothing_like_it  # noqa: B018


def test_no_other_names_are_public():
    code = (
        "import volumekit, types; [getattr(volumekit, name) for name in volumekit.__all__]\n"
        "names = {n for n, v in vars(volumekit).items() if not isinstance(v, types.ModuleType)}\n"
        "print(*(n for n in names if not n.startswith('_')))"
    )
    # The rest is what PEP 562 and typing need.
    assert set(python(code).split()) - {"annotations", "import_module", "TYPE_CHECKING", "Any"} == PUBLIC - {
        "__version__",
        "errors",
        "serve",
    }


def test_names_for_type_checkers_are_the_same():
    tree = ast.parse((ROOT / "volumekit/__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {(alias.name, node.module) for node in block.body for alias in node.names}
    assert typed == {(n, module) for n, module in volumekit._WHERE.items() if n != "errors"}


def test_importing_it_loads_nothing_heavy():
    loaded = python("import sys, volumekit; volumekit.errors; print(*sys.modules)").split()
    ours = {module for module in loaded if module.startswith("volumekit")}
    assert ours == {"volumekit", "volumekit.errors"}
    third = {module.partition(".")[0] for module in loaded} - set(sys.stdlib_module_names) - {"volumekit"}
    assert (
        third & {"numpy", "tensorstore", "numba", "tifffile", "PIL", "imagecodecs", "skimage", "fsspec", "tqdm"}
        == set()
    )


def test_importing_it_takes_no_time():
    # The processor's time: other programs on the machine do not count.
    code = "from time import process_time as now; start = now(); import volumekit; print(now() - start)"
    assert min(float(python(code)) for _ in range(5)) < IMPORT_SECONDS


def drawn() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the tree drawn in `errors`: each error's parent and its built-in bases."""
    tree, above = {}, []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^ {4}([│ ├└─]*)(\w+Error)(?: +\(([\w, ]+)\))?", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        above[depth:] = [match[2]]
        tree[match[2]] = (above[depth - 1] if depth else "", tuple(re.findall(r"\w+", match[3] or "")))
    return tree


def test_every_error_is_drawn():
    tree = drawn()
    defined = {n: kind for n, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    assert set(tree) == set(defined)
    for label, (parent, bases) in tree.items():
        ours = [base.__name__ for base in defined[label].__bases__ if base.__module__ == errors.__name__]
        built_in = [base.__name__ for base in defined[label].__bases__ if base is not Exception]
        built_in = [base for base in built_in if hasattr(builtins, base)]
        assert ours == ([parent] if parent else []), label
        assert built_in == list(bases), label


def test_errors_are_defined_in_one_place():
    found = {
        node.name
        for path in MODULES
        if path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases)
    }
    # These two steer; no caller ever sees them.
    assert found == {"WrongFormat", "Stopped"}


def undocumented(body: list[ast.stmt], where: str) -> list[str]:
    missing = []
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        decorators = {ast.unparse(part) for part in node.decorator_list}
        if not ast.get_docstring(node) and not any(d == "overload" or d.endswith(".setter") for d in decorators):
            missing.append(f"{where}:{node.name}")
        if isinstance(node, ast.ClassDef):
            missing += undocumented(node.body, f"{where}:{node.name}")
    return missing


def test_everything_public_is_documented():
    trees = {name(path): ast.parse(path.read_text()) for path in MODULES}
    assert [path for path, tree in trees.items() if not ast.get_docstring(tree)] == []
    assert [place for path, tree in trees.items() for place in undocumented(tree.body, path)] == []


def test_nothing_knows_the_machine_it_was_written_on():
    homes = re.compile("|".join(f"/{top}/" for top in ("work", "home/[a-z]", "root", "Users", "opt")))
    folders = ("volumekit", "tests", "benchmarks", "docs", "notebooks", ".ci")
    texts = [ROOT / n for n in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml")]
    for folder in folders:
        texts += [
            p for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".md", ".ipynb", ".toml", ""} and p.is_file()
        ]
    golden = ROOT / "tests/golden"
    texts = [path for path in texts if golden not in path.parents]
    assert len(texts) > 100
    assert [name(path) for path in texts if homes.search(path.read_text(errors="replace"))] == []


def test_the_package_is_typed():
    assert (ROOT / "volumekit/py.typed").is_file()
    assert isinstance(volumekit, types.ModuleType)
