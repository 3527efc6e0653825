"""What our own code never does: rules on the syntax tree, each with code it must catch and code it
must leave alone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import pytest

from tests.unit.layout.test_imports import ROOT, modules

CODE = ("engine", "apps", "inference_site", "demo", "benchmarks", "deploy")
Rule = Callable[[ast.AST], bool]


def name_of(node: ast.AST) -> str:
    """`a.b.c` of a name or attribute; what cannot be named is `?`."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def calls(*names: str) -> Rule:
    """A call of one of these; `.x` is any method x."""
    return lambda node: (
        isinstance(node, ast.Call)
        and any(
            name_of(node.func) == name or (name[0] == "." and name_of(node.func).endswith(name))
            for name in names
        )
    )


def imports(*names: str) -> Rule:
    def found(node: ast.AST) -> bool:
        of = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        of += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        return any(module == n or module.startswith(f"{n}.") for module in of for n in names)

    return found


def keyword(name: str, value: object) -> Rule:
    return lambda node: (
        isinstance(node, ast.keyword)
        and node.arg == name
        and isinstance(node.value, ast.Constant)
        and node.value.value is value
    )


def sql_of_values(node: ast.AST) -> bool:
    """SQL put together from anything but constants and names in capitals."""
    if not calls(".execute", ".executemany", ".raw")(node):
        return False
    assert isinstance(node, ast.Call)
    text = node.args[0] if node.args else None
    if isinstance(text, ast.BinOp) and isinstance(text.op, ast.Mod):
        return True
    if isinstance(text, ast.Call):
        return (
            isinstance(text.func, ast.Attribute)
            and text.func.attr == "format"
            and isinstance(text.func.value, ast.Constant)
        )
    parts = text.values if isinstance(text, ast.JoinedStr) else []
    put_in = [name_of(p.value) for p in parts if isinstance(p, ast.FormattedValue)]
    return any(not name.isupper() for name in put_in)


def bodies_into_fields(node: ast.AST) -> bool:
    """`f(**request.data)`: a caller would choose which fields are written."""
    return (
        isinstance(node, ast.keyword)
        and node.arg is None
        and ("request" in name_of(node.value) or name_of(node.value) == "raw")
    )


def swallowed(node: ast.AST) -> bool:
    """A handler for everything that does nothing."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    every = node.type is None or name_of(node.type) in ("Exception", "BaseException")
    return every and all(isinstance(one, ast.Pass) for one in node.body)


def words_of_callers(node: ast.AST) -> bool:
    """A log line with a field that holds what callers or models write, or a key."""
    if not calls("log.info", "log.warning", "log.error", "log.exception")(node):
        return False
    assert isinstance(node, ast.Call)
    secret = {"prompt", "messages", "output", "text", "authorization", "api_key", "password"}
    named = {k.arg for k in node.keywords}
    for one in node.keywords:
        if one.arg == "extra" and isinstance(one.value, ast.Dict):
            named |= {k.value for k in one.value.keys if isinstance(k, ast.Constant)}
    made = isinstance(node.args[0], ast.JoinedStr) if node.args else False
    return made or bool(named & secret)


def lost_task(node: ast.AST) -> bool:
    """A task that nobody holds may be collected while it runs, and its error is never seen. Task
    groups hold theirs."""
    loose = calls("asyncio.create_task", "loop.create_task", "asyncio.ensure_future")
    return isinstance(node, ast.Expr) and loose(node.value)


def guessed(node: ast.AST) -> bool:
    """Secrets from a generator that can be predicted."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
        return False
    words = ("token", "secret", "password", "ticket", "pepper")
    targets = [name_of(t).lower() for t in node.targets]
    return name_of(node.value.func).startswith("random.") and any(
        word in target for word in words for target in targets
    )


# where the names in the text are Django's own, quoted by its connection
EXCEPT = {("apps/usage/store.py", "SQL from values")}
RULES: dict[str, tuple[Rule, str, str]] = {
    "formats that carry code": (
        imports("pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"),
        "from pickle import loads", "import json",
    ),
    "torch.load": (calls("torch.load"), "torch.load(f)", "load_file(f)"),
    "yaml.load": (calls("yaml.load", "yaml.unsafe_load"), "yaml.load(f)", "yaml.safe_load(f)"),
    "eval": (calls("eval", "exec", "builtins.eval"), "eval(text)", "model.eval()"),
    "a shell": (calls("os.system", "os.popen"), "os.system(c)", "subprocess.run([c])"),
    "a shell of subprocess": (keyword("shell", True), "run(c, shell=True)", "run(c, shell=False)"),
    "code of a checkpoint": (
        keyword("trust_remote_code", True), "load(p, trust_remote_code=True)", "load(p)",
    ),
    "unchecked certificates": (keyword("verify", False), "get(u, verify=False)", "get(u)"),
    "names of temporary files that can be guessed": (
        calls("tempfile.mktemp"), "tempfile.mktemp()", "tempfile.mkstemp()",
    ),
    "archives unpacked": (
        calls(".extractall", "shutil.unpack_archive"), "tar.extractall(p)", "tar.getmembers()",
    ),
    "templates outside the sandbox": (
        calls("jinja2.Environment", "Environment", "jinja2.Template"),
        "Environment()", "ImmutableSandboxedEnvironment()",
    ),
    "XML": (imports("xml", "lxml"), "import xml.etree", "import html"),
    "text marked as safe": (calls("mark_safe"), "mark_safe(x)", "format_html('{}', x)"),
    "SQL from values": (sql_of_values, "c.execute(f'select {x}')", "c.execute(f'select {COLUMN}')"),
    "bodies into fields": (bodies_into_fields, "f(**request.data)", "f(**changes)"),
    "errors swallowed": (
        swallowed, "try: f()\nexcept Exception: pass", "try: f()\nexcept OSError: pass",
    ),
    "callers' words in logs": (
        words_of_callers, "log.info('x', extra={'prompt': p})", "log.info('x', rid=r)",
    ),
    "tasks nobody holds": (lost_task, "loop.create_task(f())", "task = loop.create_task(f())"),
    "secrets that can be guessed": (
        guessed, "token = random.choice(x)", "token = secrets.token_hex(8)",
    ),
}  # fmt: skip


def found(rule: Rule, text: str) -> Iterator[int]:
    return (getattr(node, "lineno", 0) for node in ast.walk(ast.parse(text)) if rule(node))


@pytest.mark.parametrize("name", RULES)
def test_rule_catches_the_bad_and_leaves_the_good(name):
    rule, bad, good = RULES[name]
    assert list(found(rule, bad))
    assert not list(found(rule, good))


def test_there_are_enough_rules():
    assert len(RULES) >= 12


def test_our_code_keeps_the_rules():
    broken = []
    for file in modules(*CODE):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        path = str(file.relative_to(ROOT))
        for name, (rule, _, _) in RULES.items():
            lines = [getattr(node, "lineno", 0) for node in nodes if rule(node)]
            broken += [f"{path}:{line}: {name}" for line in lines if (path, name) not in EXCEPT]
    assert broken == []
