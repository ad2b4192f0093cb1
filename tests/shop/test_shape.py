"""How the source is arranged: no circles, no hidden imports, nothing too long to be read."""

import ast
import re

import pytest

from tests.shop.test_walls import APPS, ROOT, code_words, modules, reached, within

LONGEST_FILE = 400
LONGEST_FUNCTION = 40
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def of_the_shop() -> dict:
    return without_migrations("payments", "catalogue")


def without_migrations(*folders: str) -> dict:
    found = modules(*folders)
    return {name: path for name, path in found.items() if ".migrations" not in name}


def graph() -> dict[str, set[str]]:
    """Which module of ours imports which.

    `from package import module` is an arrow to the module; to the package only if it is asked
    for a name of its own.
    """
    ours = modules(*APPS)
    return {name: set(targets(name, path, ours)) - {name} for name, path in ours.items()}


def targets(name: str, path, ours: dict):
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in ours)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*start, *filter(None, [node.module])])
            for alias in node.names:
                full = f"{source}.{alias.name}"
                if full in ours or source in ours:
                    yield full if full in ours else source


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """The modules of one import circle, none if there is no circle."""
    done, path = set(), []

    def walk(name: str) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        path.append(name)
        for target in sorted(arrows.get(name, ())):
            if found := walk(target):
                return found
        path.pop()
        done.add(name)
        return []

    return next((found for name in arrows if (found := walk(name))), [])


def test_no_module_imports_itself_by_a_detour():
    assert circle(graph()) == []


def test_a_circle_would_be_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("name", sorted(of_the_shop()))
def test_imports_stand_at_the_top(name):
    tree = ast.parse(of_the_shop()[name].read_text())
    ready = ("payments.apps", "catalogue.apps")  # Django imports models before it calls ready()

    for function in (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)):
        hidden = [
            node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert not hidden or name in ready, f"{name}.{function.name}"


READABLE = without_migrations("payments", "catalogue", "sandbox")


@pytest.mark.parametrize("name", sorted(READABLE))
def test_files_and_functions_can_be_read_at_a_sitting(name):
    source = READABLE[name].read_text()

    assert source.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTIONS):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"{name}.{node.name}"


@pytest.mark.parametrize("name", ["payments.money", "payments.policy", "payments.settlement"])
def test_the_rules_of_money_know_no_django(name):
    assert within(reached([name]), "django") == set()


def test_models_import_no_verbs():
    verbs = {"ingestion", "quoting", "checkout", "refunds", "stock", "outbox", "notifications"}
    verbs |= {"review", "tasks", "worker", "watcher", "reconciliation", "presentation", "live"}
    everything = reached(modules("payments/models"))

    assert not {f"payments.{verb}" for verb in verbs} & everything


def test_no_provider_is_named_outside_of_the_providers():
    slug = re.compile("blockonomics", re.IGNORECASE)
    for name, path in of_the_shop().items():
        if not within([name], "payments.providers"):
            assert [word for word in code_words(path.read_text()) if slug.search(word)] == [], name
    for path in (ROOT / "templates").rglob("*.html"):
        assert not slug.search(path.read_text()), path
