"""The rules of the layers that import-linter cannot express: what may be called where, and what start-up may load."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mwr_hpc

PACKAGE = Path(mwr_hpc.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
ONLY_IN = {
    "subprocess": "cluster",
    "argparse": "cli",
    "rich": "cli",
    "typer": "cli",
}
# Each of these can run code that a file or a user's text brings along.
NEVER_IMPORTED = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
NEVER_CALLED = {"eval", "exec", "os.system", "os.popen", "yaml.load", "load_model", "models.load_model"}


def folder(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def imported_roots(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def called_names(tree: ast.AST) -> Iterator[str]:
    """The names that are called, with their dotted endings: a.b.c() gives a.b.c and b.c."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts = ast.unparse(node.func).split(".")
            yield from (".".join(parts[i:]) for i in range(max(1, len(parts) - 1)))


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.AST]:
    return {path: ast.parse(path.read_text(), str(path)) for path in MODULES}


def test_every_module_says_what_it_is_for(trees: dict[Path, ast.AST]) -> None:
    assert [str(path) for path, tree in trees.items() if not ast.get_docstring(tree)] == []


@pytest.mark.parametrize(("module", "home"), ONLY_IN.items())
def test_import_stays_in_its_folder(trees: dict[Path, ast.AST], module: str, home: str) -> None:
    strays = [str(p) for p, tree in trees.items() if module in imported_roots(tree) and folder(p) != home]
    assert strays == [], f"{module} belongs in {home}/"


def test_only_the_command_line_prints(trees: dict[Path, ast.AST]) -> None:
    assert [str(p) for p, tree in trees.items() if "print" in called_names(tree) and folder(p) != "cli"] == []


def test_all_that_is_printed_is_escaped(trees: dict[Path, ast.AST]) -> None:
    """One module of cli/ prints, and escapes what it prints; progress bars draw with texts that it escaped."""
    raw = {
        "print",
        "typer.echo",
        "typer.secho",
        "traceback.print_exc",
        "Console",
        "sys.stderr.write",
        "sys.stdout.write",
    }
    printing = {path.name for path, tree in trees.items() if raw & set(called_names(tree))}
    assert printing == {"output.py", "progress.py"}


def test_nothing_read_from_disk_can_run_code(trees: dict[Path, ast.AST]) -> None:
    found = {
        str(path): bad
        for path, tree in trees.items()
        if (bad := NEVER_IMPORTED & set(imported_roots(tree)) | NEVER_CALLED & set(called_names(tree)))
    }
    assert found == {}


def test_numerics_needs_numpy_and_scipy_only(trees: dict[Path, ast.AST]) -> None:
    allowed = sys.stdlib_module_names | {"numpy", "scipy", "mwr_hpc"}
    roots = {root for path, tree in trees.items() if folder(path) == "numerics" for root in imported_roots(tree)}
    assert roots - allowed == set()


def test_random_numbers_come_from_keys(trees: dict[Path, ast.AST]) -> None:
    """Global and unkeyed generators would make results depend on who computed them; stateless operations take a key."""
    home = PACKAGE / "numerics" / "keyed_random.py"
    generators = ("np.random.", "numpy.random.", "random.", "tf.random.")
    keyed = re.compile(r".*\.(Generator|stateless_\w+)")
    found = {
        str(path): names
        for path, tree in trees.items()
        if path != home
        and (names := {n for n in called_names(tree) if n.startswith(generators) and not keyed.fullmatch(n)})
    }
    assert found == {}


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from mwr_hpc.cli.main import main\n"
        "sys.argv = ['mwr-hpc', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'tensorflow', 'keras', 'dask', 'distributed', 'zarr', 'horovod'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "loaded: []"
