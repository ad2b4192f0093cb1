"""The walls between the parts of the shop, read from the source itself."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = ("payments", "catalogue", "sandbox", "shop", "demo")
# Facts of an invoice that only one function may write.
JUDGED = {"settlement", "paid_at"}
WRITING_CALLS = {
    "update",
    "create",
    "acreate",
    "aupdate",
    "update_or_create",
    "get_or_create",
    "Invoice",
}


def modules(*folders: str) -> dict[str, Path]:
    """Every module below the folders, by its dotted name."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {dotted(path): path for path in paths}


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """What the module imports, by full dotted names: modules, and the names taken from them."""
    found = set()
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: -node.level] if node.level else ()
            source = ".".join([*start, *([node.module] if node.module else [])])
            found |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return found


def reached(start: Iterable[str]) -> set[str]:
    """All that these modules import, and what that imports, as far as it is our own."""
    ours = modules(*APPS)
    found, waiting = set(), list(start)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if name in ours:
            waiting += imports(ours[name])
    return found


def within(names: Iterable[str], package: str) -> set[str]:
    return {name for name in names if name == package or name.startswith(f"{package}.")}


def words(path: Path) -> Iterator[str]:
    """The strings of a module: names of models, of URLs, of classes to be imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize(("here", "there"), [("payments", "sandbox"), ("sandbox", "payments")])
def test_the_shop_and_the_sandbox_are_two_companies(here, there):
    for name, path in modules(here).items():
        assert within(imports(path), there) == set(), name
        assert [word for word in words(path) if re.match(rf"{there}[.:]\w", word)] == [], name


@pytest.mark.parametrize(
    ("here", "there"), [("catalogue", "sandbox"), ("sandbox", "catalogue"), ("sandbox", "shop")]
)
def test_the_sandbox_knows_nothing_of_the_shop(here, there):
    for name, path in modules(here).items():
        assert within(imports(path), there) == set(), name


def test_the_catalogue_knows_no_orders():
    for name in modules("catalogue"):
        if name != "catalogue.admin":  # there new stock is allocated to the orders that wait for it
            assert within(reached([name]), "payments.models") == set(), name


def test_providers_know_no_models():
    providers = modules("payments/providers")
    everything = reached(providers)

    assert "payments.providers.blockonomics" in providers
    assert within(everything, "payments.models") == set()
    assert within(everything, "django.db") == set()
    assert within(everything, "django.apps") == set()


def test_money_needs_no_django():
    assert within(reached(["payments.money"]), "django") == set()


def test_models_never_call_the_network():
    everything = {
        name
        for path in modules("payments/models").values()
        for name in imports(path)
        if not name.startswith("payments")
    }

    for library in ("requests", "urllib", "urllib3", "http", "socket", "websockets"):
        assert within(everything, library) == set()


def test_only_the_blockonomics_provider_knows_its_words():
    for name, path in modules("payments").items():
        if not within([name], "payments.providers.blockonomics"):
            assert not {"addr", "/api/new_address", "/api/price"} & set(words(path)), name


# Who judges an invoice


def judgements(source: str) -> list[str]:
    """Where the source writes an invoice's status, settlement or paid_at.

    Seen are assignments to such an attribute, by whatever name the object goes, setattr with its
    name, and the queryset's writing calls with such a keyword or, in bulk_update, such a field.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in ast.walk(target)]
            written = [part.attr for part in parts if isinstance(part, ast.Attribute)]
        elif isinstance(node, ast.Call):
            written = written_by(node)
        else:
            continue
        found += [f"line {node.lineno}: {name}" for name in written if name in JUDGED]
    return found


def written_by(call: ast.Call) -> list[str]:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name in WRITING_CALLS:
        return [keyword.arg for keyword in call.keywords if keyword.arg]
    if name in ("setattr", "bulk_update", "abulk_update"):
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        parts = [part for value in values for part in ast.walk(value)]
        return [part.value for part in parts if isinstance(part, ast.Constant)]
    return []


def test_only_settling_judges_an_invoice():
    for name, path in modules("payments", "catalogue", "shop", "demo").items():
        if name != "payments.settling" and ".migrations" not in name:
            assert judgements(path.read_text()) == [], name


def test_in_settling_only_settle_judges_an_invoice():
    tree = ast.parse((ROOT / "payments" / "settling.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]

    assert [each.name for each in functions if judgements(ast.unparse(each))] == ["settle"]


@pytest.mark.parametrize(
    "source",
    [
        "invoice.settlement = 'paid'",
        "invoice.paid_at: datetime = now()",
        "self.invoice.settlement, other = 2, 3",
        "a = invoice.settlement = 2",
        "invoice.settlement += 1",
        "Invoice.objects.filter(pk=1).update(settlement='paid')",
        "invoices.update(paid_at=now(), total=1)",
        "Invoice(total=1, settlement='paid')",
        "Invoice.objects.create(settlement='paid')",
        "Invoice.objects.bulk_update(all, ['due', 'paid_at'])",
        "Invoice.objects.bulk_update(all, fields=['settlement'])",
        "setattr(invoice, 'settlement', 'paid')",
    ],
)
def test_a_judgement_in_any_dress_is_seen(source):
    assert len(judgements(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "if invoice.settlement == 'paid': pass",
        "settlement = invoice.settlement",
        "render(request, '503.html', status=503)",
        "Invoice.objects.filter(settlement='paid')",
        "TransactionReport(reference='', transaction_id='', amount=1, confirmations=2)",
        "invoice.attempt.due = 1",
    ],
)
def test_a_look_is_no_judgement(source):
    assert judgements(source) == []


# Play money


def test_the_sandbox_refuses_to_start_with_debug_off(tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": ".env.example",
        "DATA_DIR": str(tmp_path),
        "DEBUG": "false",
        "SANDBOX": "true",
    }

    result = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.returncode != 0
    assert "The sandbox refuses to start with DEBUG off" in result.stderr


# Names and neighbours


def test_everything_has_a_name_of_its_own():
    nameless = {"services", "utils", "helpers", "common", "signals"}

    for name in modules(*APPS, "tests"):
        assert not nameless & set(name.split(".")), name


def sources() -> list[Path]:
    folders = [ROOT / "templates", ROOT / "static"]
    folders += [ROOT / app / kind for app in APPS for kind in ("templates", "static")]
    kinds = {".html", ".txt", ".js", ".css", ".svg"}
    return [path for folder in folders for path in folder.rglob("*") if path.suffix in kinds]


def test_pages_scripts_and_styles_name_no_third_party():
    names_of_formats = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    address = re.compile(r"""(?:https?:|wss?:)?//[\w-]+\.[\w./-]+""", re.ASCII)

    assert len(sources()) > 20
    for path in sources():
        assert set(address.findall(path.read_text())) <= names_of_formats, path


def test_templates_hold_no_code():
    inline = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", re.I)

    for path in sources():
        if path.match("payments/mail/frames/*"):
            continue  # mail programs know no other styles
        if path.suffix == ".html":
            assert inline.findall(path.read_text()) == [], path


def test_scripts_turn_no_text_into_code():
    evaluation = re.compile(r"\beval\(|new Function|document\.write|insertAdjacentHTML")

    for path in sources():
        if path.suffix == ".js":
            assert evaluation.findall(path.read_text()) == [], path


# Bitcoin is one way to pay among others

OF_BITCOIN = re.compile(r"btc|satoshi|bitcoin|txid", re.IGNORECASE)
TELL_HOW_TO_PAY = ROOT / "templates" / "payments" / "pay"
# Only these know how it works, and what it was called in the database.
KNOW_BITCOIN = ("payments.bitcoin", "payments.providers", "payments.migrations")


def docstrings(tree: ast.AST) -> set[ast.Constant]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None
    }


def code_words(source: str) -> Iterator[str]:
    """Every name and every string of a module, with its line; no comment and no docstring."""
    tree = ast.parse(source)
    silent = docstrings(tree)
    for node in ast.walk(tree):
        if node in silent:
            continue
        for _, value in ast.iter_fields(node):
            for word in value if isinstance(value, list) else [value]:
                if isinstance(word, str):
                    yield f"line {getattr(node, 'lineno', '?')}: {word}"


def test_templates_speak_of_bitcoin_only_where_they_tell_how_to_pay():
    paths = [path for path in (ROOT / "templates").rglob("*") if path.is_file()]

    assert len(paths) > 50
    for path in paths:
        if not path.is_relative_to(TELL_HOW_TO_PAY):
            assert OF_BITCOIN.findall(path.read_text()) == [], path


def test_each_way_to_pay_is_told_in_the_same_parts():
    families = {
        folder.name: {path.name for path in folder.iterdir()}
        for folder in TELL_HOW_TO_PAY.iterdir()
    }

    assert {"bitcoin", "default"} <= families.keys()
    for family, parts in families.items():
        assert parts <= families["default"], family


def test_the_core_knows_no_bitcoin():
    for name, path in modules("payments").items():
        if not any(within([name], package) for package in KNOW_BITCOIN):
            words_of_bitcoin = [
                word for word in code_words(path.read_text()) if OF_BITCOIN.search(word)
            ]
            assert words_of_bitcoin == [], name


@pytest.mark.parametrize(
    "source",
    [
        "txid = 1",
        "payment.txid",
        "def pay(satoshis): pass",
        "class BitcoinThing: pass",
        "pay(txid=1)",
        "from payments.bitcoin import uri",
        "import payments.bitcoin.uri as links",
        "'0.1 BTC'",
        "f'{amount} BTC'",
        "{'txid': 1}",
        "try: pass\nexcept Error as btc: pass",
        "def pay():\n    global txids",
    ],
)
def test_bitcoin_in_any_dress_is_seen(source):
    assert [word for word in code_words(f"first = 1\n{source}") if OF_BITCOIN.search(word)]


@pytest.mark.parametrize(
    "source", ["'''Of bitcoin.'''", "def pay():\n    '''In BTC.'''", "# satoshis", "due = 1"]
)
def test_docstrings_and_comments_may_name_it(source):
    assert [word for word in code_words(source) if OF_BITCOIN.search(word)] == []
