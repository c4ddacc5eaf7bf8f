"""Deliberate mistakes in the modules that decide, one at a time: does a test fail? `make mutants` runs it.

    python -m tests.mutants [--count 150 | --all] [--seed 1] [--module calls/call.py ...] [tests ...]

A mutant is the package with one small change (`alternatives` lists them). First the tests run once, unchanged, and
coverage says which of them reach each line. Then the tests are collected once, and each mutant is a fork that takes the
changed code for the original, and runs the tests that reach the changed line until one fails. A change
outside of functions takes effect while modules are imported, so such a mutant collects its tests itself.

The run fails if less than 95 % of the mutants are killed, or if one survives that `tests/mutants_accepted.py` does not
explain.
"""

import argparse
import ast
import contextlib
import functools
import gc
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FunctionType, ModuleType
from typing import Final

import attrs
import coverage
import pytest

from tests.mutants_accepted import ACCEPTED

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = "soapbatch"
# The modules that decide, and the files of tests that judge each first, beside the one of the same name.
MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "errors.py": (),
    "auth/ticket_manager.py": (),
    "calls/bindings.py": ("calls/test_binding.py",),
    "calls/call.py": (
        *("calls/test_retries.py", "calls/test_streaming.py", "calls/test_binding.py", "calls/test_rate.py"),
        *("scenarios/test_deadlines.py", "scenarios/test_login.py", "tests/test_client.py"),
    ),
    "calls/exchange.py": (
        *("calls/test_call.py", "calls/test_logs.py", "calls/test_statuses.py"),
        *("calls/test_streaming.py", "calls/test_compressed_pieces.py"),
    ),
    "calls/lifetime.py": ("scenarios/test_closing.py", "scenarios/test_deadlines.py"),
    "jobs/bulk.py": (),
    "jobs/marker.py": ("jobs/test_keys.py", "jobs/test_start.py"),
    "jobs/poller.py": ("jobs/test_job_wait.py",),
    "jobs/search.py": ("jobs/test_keys.py", "jobs/test_start.py"),
    "jobs/start.py": ("jobs/test_keys.py",),
    "jobs/task_reader.py": ("jobs/test_poller.py", "jobs/test_bulk.py", "jobs/test_job_wait.py"),
    "model/limits.py": (),
    "model/retry.py": ("calls/test_retries.py",),
    "model/secret.py": (),
    "soap/constraints.py": ("soap/test_builder.py",),
    "soap/interpretation.py": (),
    "system/cancellation.py": (),
    "transport/connection.py": ("transport/test_proxies.py",),
    "transport/decompression.py": (),
    "transport/error_mapping.py": (),
    "transport/pool.py": (),
    "transport/send_state.py": (),
}
TESTS: Final = (
    *(f"tests/{wing}" for wing in ("auth", "calls", "jobs", "model", "scenarios", "system", "transport")),
    *(f"tests/soap/test_{name}.py" for name in ("builder", "decoders", "interpretation", "parser", "recordings")),
    "tests/test_client.py",
    "tests/test_errors.py",
)
ENOUGH: Final = 0.95  # share of the mutants that must be killed
SECONDS: Final = 10.0  # of tests that a mutant meets beside its judges, as measured without a change
PATIENCE: Final = (5.0, 10.0)  # a test hangs after so many seconds, and so many times what it took without a change


_START: Final = 0.2  # seconds that each test costs beside its own


# --- The mistakes ---------------------------------------------------------------------------------------------------


OPERATORS: Final[dict[type[ast.AST], type[ast.AST]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.Break: ast.Continue,
    ast.Continue: ast.Break,
}
NAMES: Final = {"min": "max", "max": "min", "any": "all", "all": "any", "aclosing": "nullcontext"}
WORDS: Final = {
    "no": "unknown",
    "unknown": "no",
    "yes": "unknown",
    **dict.fromkeys(("queueing", "login", "locating", "discovering", "retrying", "settling"), "waiting"),
    "connecting": "sending",
    "sending": "waiting",
    "waiting": "reading",
    "reading": "waiting",
}
KEYWORDS: Final = {"applied", "may_be_applied", "phase", "retry_after", "retryable", "secrets", "status", "timeout"}
# Fields that hold types or change what a thing is, and statements that never run.
NOT_CHANGED: Final = {"annotation", "returns", "decorator_list", "bases", "keywords:ClassDef", "type_comment"}
CONDITIONS: Final = {"test", "ifs"}


def alternatives(node: ast.AST, field: str) -> Iterator[tuple[str, ast.AST]]:  # noqa: C901, PLR0912 - a table
    """Yield what a careless author may write in place of `node`, with a few words for each."""
    match node:
        case ast.operator() | ast.cmpop() | ast.boolop() | ast.Break() | ast.Continue() if type(node) in OPERATORS:
            new = OPERATORS[type(node)]
            yield f"{type(node).__name__} to {new.__name__}", ast.copy_location(new(), node)
        case ast.UnaryOp(op=ast.Not()):
            yield "without not", node.operand
        case ast.Constant(value=bool() as truth):
            yield f"{truth} to {not truth}", ast.Constant(not truth)
        case ast.Constant(value=int() | float() as number):
            for other in (number - 1, number + 1):
                yield f"{number} to {other}", ast.Constant(other)
        case ast.Constant(value=str() as word) if word in WORDS:
            yield f"{word} to {WORDS[word]}", ast.Constant(WORDS[word])
        case ast.Name(id=name, ctx=ast.Load()) if name in NAMES:
            yield f"{name} to {NAMES[name]}", ast.Name(NAMES[name], ast.Load())
        case ast.Attribute(value=value, attr=name, ctx=ast.Load()) if name in NAMES:
            yield f"{name} to {NAMES[name]}", ast.Attribute(value, NAMES[name], ast.Load())
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield "return None", ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Await() | ast.Yield()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield "without the statement", ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "without the statement", ast.Pass()
        case ast.With() | ast.AsyncWith() if all(item.optional_vars is None for item in node.items):
            yield "without the with", ast.If(ast.Constant(True), node.body, [])  # noqa: FBT003 - a node
        case ast.ExceptHandler(type=ast.Tuple(elts=kinds)):
            for n, kind in enumerate(kinds):
                less = ast.Tuple([*kinds[:n], *kinds[n + 1 :]], ast.Load())
                yield f"without except {ast.unparse(kind)}", ast.ExceptHandler(less, node.name, node.body)
        case ast.ExceptHandler():
            yield "without the handler", ast.ExceptHandler(node.type, node.name, [ast.Raise()])
        case ast.Call(keywords=given):
            for n, keyword in enumerate(given):
                if keyword.arg in KEYWORDS:
                    yield (
                        f"without {keyword.arg}=",
                        ast.Call(node.func, node.args, [*given[:n], *given[n + 1 :]]),
                    )
        case _:
            pass
    if field in CONDITIONS and isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Await | ast.NamedExpr):
        yield "negated", ast.UnaryOp(ast.Not(), node)


@attrs.frozen(kw_only=True)
class Mutant:
    """One change of one module.

    Attributes:
        module: its path below the package.
        number: of the change, in the order of `changes`.
        place: module, function and line.
        change: in a few words.
        lines: the line of the change, and the first line of its statement.
        in_function: whether the change stands in the body of a function.
    """

    module: str
    number: int
    place: str
    change: str
    lines: tuple[int, int]
    in_function: bool

    @property
    def key(self) -> str:
        """What the mutant is found by."""
        return f"{self.place} | {self.change}"

    @property
    def reason(self) -> str | None:
        """Why the mutant may survive, or why each mutant of its line may; None: it may not."""
        return ACCEPTED.get(self.key) or ACCEPTED.get(self.place)


@attrs.frozen
class _Place:
    """Where the walk stands."""

    function: str = ""
    line: int = 0
    in_function: bool = False


def _never_runs(node: ast.AST) -> bool:
    """Whether a statement is for type checkers."""
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.FunctionDef(decorator_list=[ast.Name(id="overload"), *_]):
            return True
        case ast.ClassDef():
            return any("Protocol" in ast.unparse(base) for base in node.bases)
        case _:
            return False


def changes(node: ast.AST, at: _Place = _Place()) -> Iterator[tuple[_Place, ast.AST, str, Callable[[], None]]]:
    """Yield the place, the node, the words, and what makes the change, for each change below `node`."""
    if _never_runs(node):
        return
    for field, value in ast.iter_fields(node):
        if field in NOT_CHANGED or f"{field}:{type(node).__name__}" in NOT_CHANGED:
            continue
        inside = at
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and field == "body":
            name = f"{at.function}.{node.name}".strip(".")
            inside = attrs.evolve(at, function=name, in_function=at.in_function or not isinstance(node, ast.ClassDef))
        elif isinstance(node, ast.Lambda) and field == "body":
            inside = attrs.evolve(at, in_function=True)
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST):
                continue
            place = attrs.evolve(inside, line=child.lineno) if isinstance(child, ast.stmt) else inside
            if isinstance(child, ast.Constant | ast.UnaryOp) and isinstance(node, ast.Expr | ast.JoinedStr):
                continue
            for words, new in alternatives(child, field):
                yield place, child, words, _putting(node, field, index, new)
            yield from changes(child, place)


def _putting(parent: ast.AST, field: str, index: int | None, new: ast.AST) -> Callable[[], None]:
    """Return a function that puts `new` into the `field` of `parent`."""

    def put() -> None:
        old = getattr(parent, field)
        if index is not None:
            old[index] = ast.copy_location(new, old[index]) if hasattr(old[index], "lineno") else new
        else:
            setattr(parent, field, ast.copy_location(new, old) if hasattr(old, "lineno") else new)

    return put


def mutants_of(module: str, root: Path) -> list[Mutant]:
    """Return every mutant of a module, in the order of its text."""
    source = (root / module).read_text("utf-8")
    lines = source.splitlines()
    found: list[Mutant] = []
    seen: Counter[str] = Counter()
    for number, (place, node, words, _) in enumerate(changes(ast.parse(source))):
        line = getattr(node, "lineno", place.line)
        if isinstance(node, ast.ExceptHandler):
            reached = node.body[0].lineno, node.body[0].lineno
        else:
            reached = line, place.line
        where = f"{module} | {place.function} | {lines[line - 1].strip()}"
        seen[f"{where} | {words}"] += 1
        count = seen[f"{where} | {words}"]
        found.append(
            Mutant(
                module=module,
                number=number,
                place=where,
                change=words if count == 1 else f"{words} | {count}",
                lines=reached,
                in_function=place.in_function,
            )
        )
    return found


@functools.cache
def original(path: Path) -> CodeType:
    """Return the code of a module, without a change."""
    return compile(path.read_text("utf-8"), path, "exec")


def compiled(mutant: Mutant, root: Path) -> CodeType:
    """Return the code of the mutant's module."""
    path = root / mutant.module
    tree = ast.parse(path.read_text("utf-8"))
    for number, (_, _, _, change) in enumerate(changes(tree)):
        if number == mutant.number:
            change()
            break
    return compile(ast.fix_missing_locations(tree), path, "exec")


# --- Changed code in the place of the original ----------------------------------------------------------------------


Key = tuple[str, int]


def codes(code: CodeType) -> Iterator[tuple[Key, CodeType]]:
    """Yield each function's code below `code`, with what finds it again."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield (constant.co_qualname, constant.co_firstlineno), constant
            yield from codes(constant)


def swaps(unchanged: CodeType, changed: CodeType) -> dict[Key, CodeType] | None:
    """Return the code of the changed functions; None if it cannot take the original's place."""
    old, new = [*codes(unchanged)], [*codes(changed)]
    if [key for key, _ in old] != [key for key, _ in new]:
        return None
    found: dict[Key, CodeType] = {}
    for (key, before), (_, after) in zip(old, new, strict=True):
        if before != after:
            if key in found or before.co_freevars != after.co_freevars:
                return None
            found[key] = after
    return found


class Importer(SourceFileLoader):
    """Imports the changed module in the place of the original."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        """Take the changed code."""
        super().__init__(name, str(path))
        self._code = code

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find the module, and no other."""
        del path, target
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        """Return the changed code."""
        del fullname
        return self._code


# --- The tests ------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Measured:
    """What the tests did without a change.

    Attributes:
        seconds: of each test that passed.
        failed: the tests that did not.
        reached: for each module and line, the numbers of the tests that reached it, in the order of `seconds`; minus
            one: the line ran while modules were imported.
    """

    seconds: dict[str, float]
    failed: list[str]
    reached: dict[str, dict[str, list[int]]]
    _rare: dict[str, tuple[dict[int, float], dict[str, float]]] = attrs.field(init=False, factory=dict)

    def tests_of(self, mutant: Mutant, kills: Counter[str]) -> list[str]:
        """Return the tests that reach the mutant, the most telling first: its judges, and others for `SECONDS`.

        Telling are tests that have killed a mutant of the same function, and tests that reach lines of the module which
        few others reach, in little time.
        """
        lines = self.reached.get(mutant.module, {})
        names = [*self.seconds]
        rareness, files = self._rareness(mutant.module)
        is_imported = self.is_imported(mutant)
        judges = f"/test_{Path(mutant.module).stem}.py", *MODULES.get(mutant.module, ())

        def order(number: int) -> tuple[object, ...]:
            name = names[number]
            file = name.partition("::")[0]
            telling = -rareness.get(number, 0.0) / (self.seconds[name] + _START)
            # Where the module is imported anew, each file costs its collection: one after the other.
            spread = (-files.get(file, 0.0), file) if is_imported else ()
            return not f"/{file}".endswith(judges), -kills[name], *spread, telling, name

        if is_imported:  # coverage does not say who looks at what an import has made
            reaching: Collection[int] = range(len(names))
        else:
            reaching = next((lines[str(line)] for line in mutant.lines if str(line) in lines), [])
        chosen: list[str] = []
        left = SECONDS
        for number in sorted({*reaching} - {-1}, key=order):
            if not f"/{names[number]}".partition("::")[0].endswith(judges):
                left -= self.seconds[names[number]]
                if left < 0:
                    break
            chosen.append(names[number])
        return chosen

    def _rareness(self, module: str) -> tuple[dict[int, float], dict[str, float]]:
        """Return how rare the lines are that each test and each file of tests reaches."""
        if module not in self._rare:
            names = [*self.seconds]
            tests: dict[int, float] = defaultdict(float)
            files: dict[str, float] = defaultdict(float)
            for numbers in self.reached.get(module, {}).values():
                for number in numbers:
                    if number >= 0:
                        tests[number] += 1 / len(numbers)
                        files[names[number].partition("::")[0]] += 1 / len(numbers)
            self._rare[module] = tests, files
        return self._rare[module]

    def is_imported(self, mutant: Mutant) -> bool:
        """Whether the changed line runs while modules are imported."""
        lines = self.reached.get(mutant.module, {})
        return not mutant.in_function or any(-1 in lines.get(str(line), ()) for line in mutant.lines)


class Loop:
    """A pytest plugin that runs something else in the place of the collected tests."""

    def __init__(self, run: Callable[[dict[str, pytest.Item]], None]) -> None:
        """Take what to run: a function of the collected tests by their names."""
        self._run = run

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run it."""
        assert not session.testsfailed, "the tests cannot be collected"
        self._run({item.nodeid: item for item in session.items})
        return True


def passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run a test."""
    failed = item.session.testsfailed
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return item.session.testsfailed == failed


def forked(work: Callable[[], object]) -> int:
    """Do `work` in a fork, without output; return the status that `os.waitpid` gives. 1: it raised or was False."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.setpgid(0, 0)
            nothing = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(nothing, number)
            status = 0 if work() is not False else 1
        finally:
            os._exit(status)
    status = os.waitpid(pid, 0)[1]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what the tests have started
    return status


def collected(tests: Sequence[str], run: Callable[[dict[str, pytest.Item]], None]) -> None:
    """Let pytest collect `tests`, and `run` something with them."""
    without = [f"-pno:{plugin}" for plugin in ("cacheprovider", "cov", "xdist")]
    options = ["-qq", "-s", "--assert=plain", "--override-ini=timeout=0", "-mnot slow"]
    status = pytest.main([*without, *options, *tests], plugins=[Loop(run)])
    if status != 0:
        os._exit(int(status))


def measure(tests: Sequence[str], modules: Iterable[str], root: Path, report: Path) -> None:
    """Run the tests once, unchanged; write what they reached to `report`."""
    os.environ["COVERAGE_CORE"] = "ctrace"  # the one that tells contexts apart on every Python
    cover = coverage.Coverage(data_file=None, include=[str(root / module) for module in modules], config_file=False)
    seconds: dict[str, float] = {}
    failed: list[str] = []

    def run(items: dict[str, pytest.Item]) -> None:
        order = [*items.values()]
        for item, following in zip(order, [*order[1:], None], strict=True):
            cover.switch_context(item.nodeid)
            started = time.perf_counter()
            if passes(item, following):
                seconds[item.nodeid] = time.perf_counter() - started
            else:
                failed.append(item.nodeid)
                item.session.testsfailed = 0
        cover.stop()

    cover.start()
    collected(tests, run)
    data = cover.get_data()
    numbers = {"": -1} | {name: number for number, name in enumerate(seconds)}
    reached = {
        module: {
            str(line): [numbers[name] for name in names if name in numbers]
            for line, names in data.contexts_by_lineno(str(root / module)).items()
        }
        for module in modules
    }
    report.write_text(json.dumps({"seconds": seconds, "failed": failed, "reached": reached}), "utf-8")


def judged(names: Sequence[str], items: dict[str, pytest.Item], measured: Measured, note: Path) -> bool:
    """Run these tests until one fails; return whether none does. A test that hangs ends the process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    order = [items[name] for name in names if name in items]
    # A change may also change the name of a case.
    order += [items[name] for name in items.keys() - measured.seconds.keys() - {*measured.failed}]
    for item, following in zip(order, [*order[1:], None], strict=True):
        note.write_text(item.nodeid, "utf-8")
        signal.setitimer(signal.ITIMER_REAL, PATIENCE[0] + PATIENCE[1] * measured.seconds.get(item.nodeid, 1.0))
        if not passes(item, following):
            return False
    return True


# --- The run --------------------------------------------------------------------------------------------------------


@attrs.define
class Run:
    """One run over some mutants.

    Attributes:
        root: the folder of the package.
        tests: what pytest collects.
        mutants: to be tried.
        outcomes: what became of each mutant, by its key.
    """

    root: Path
    tests: Sequence[str]
    mutants: Sequence[Mutant]
    outcomes: dict[str, str] = attrs.field(init=False, factory=dict)
    measured: Measured = attrs.field(init=False)
    kills: dict[str, Counter[str]] = attrs.field(init=False, factory=lambda: defaultdict(Counter))
    note: Path = attrs.field(init=False)
    _results: Path = attrs.field(init=False)

    def run(self) -> None:
        """Measure, then try each mutant."""
        with TemporaryDirectory() as folder:
            self.note = Path(folder) / "test"
            self._results = Path(folder) / "results"
            report = Path(folder) / "measured.json"
            modules = sorted({mutant.module for mutant in self.mutants})
            started = time.perf_counter()
            status = forked(lambda: measure(self.tests, modules, self.root, report))
            if not report.exists():
                sys.exit(f"the tests did not run without a change: status {status}")
            self.measured = Measured(**json.loads(report.read_text("utf-8")))
            print(
                f"{len(self.measured.seconds)} tests passed without a change in {time.perf_counter() - started:.0f} s; "
                f"{len(self.measured.failed)} did not, and judge nothing: {' '.join(self.measured.failed[:5])}"
            )
            swapped = [(mutant, self._swapped(mutant)) for mutant in self.mutants]
            inside = [(mutant, changed) for mutant, changed in swapped if changed]
            if inside:
                collector = os.fork()
                if not collector:
                    collected(self.tests, lambda items: self._try_in_forks(inside, items))
                    os._exit(0)
                if os.waitpid(collector, 0)[1]:
                    sys.exit("the tests could not be collected")
            for mutant in (mutant for mutant, changed in swapped if not changed):
                self._try(mutant, functools.partial(self._imported, mutant))
            for line in self._results.read_text("utf-8").splitlines():
                key, _, outcome = line.rpartition("\t")
                self.outcomes[key] = outcome

    def _swapped(self, mutant: Mutant) -> dict[Key, CodeType] | None:
        if self.measured.is_imported(mutant):
            return None
        return swaps(original(self.root / mutant.module), compiled(mutant, self.root))

    def _try_in_forks(
        self, mutants: Sequence[tuple[Mutant, dict[Key, CodeType]]], items: dict[str, pytest.Item]
    ) -> None:
        gc.unfreeze()  # tests/conftest.py freezes, and what is frozen is not listed
        functions: dict[tuple[str, Key], list[FunctionType]] = defaultdict(list)
        for function in gc.get_objects():
            if isinstance(function, FunctionType):
                code = function.__code__
                functions[code.co_filename, (code.co_qualname, code.co_firstlineno)].append(function)
        gc.freeze()
        for mutant, changed in mutants:

            def work(names: Sequence[str], mutant: Mutant = mutant, changed: dict[Key, CodeType] = changed) -> bool:
                for key, code in changed.items():
                    for function in functions[str(self.root / mutant.module), key]:
                        function.__code__ = code
                return judged(names, items, self.measured, self.note)

            self._try(mutant, work)

    def _said(self, mutant: Mutant, outcome: str) -> None:
        """Print and keep what became of a mutant; this may be a fork."""
        print(f"{outcome}: {mutant.key}", flush=True)
        with self._results.open("a", encoding="utf-8") as results:
            results.write(f"{mutant.key}\t{outcome}\n")

    def _imported(self, mutant: Mutant, names: Sequence[str]) -> bool:
        name = ".".join((self.root.name, *Path(mutant.module).with_suffix("").parts))
        sys.meta_path.insert(0, Importer(name, self.root / mutant.module, compiled(mutant, self.root)))
        told: list[bool] = []
        files = [*dict.fromkeys(name.partition("::")[0] for name in names)]
        collected(files, lambda items: told.append(judged(names, items, self.measured, self.note)))
        return told == [True]

    def _try(self, mutant: Mutant, work: Callable[[Sequence[str]], bool]) -> None:
        kills = self.kills[mutant.place.rpartition(" | ")[0]]
        names = self.measured.tests_of(mutant, kills)
        if not names:
            self._said(mutant, "survived: no test reaches it")
            return
        self.note.write_text("the import", "utf-8")
        status = forked(lambda: work(names))
        last = self.note.read_text("utf-8")
        if not status:
            self._said(mutant, f"survived {len(names)} tests")
            return
        kills[last] += 1
        how = "hung in" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM else "killed by"
        self._said(mutant, f"{how} {last}")


def main() -> None:
    """Try mutants, and print the counts."""
    parser = argparse.ArgumentParser(description="Put mistakes into the modules that decide, and see if a test fails.")
    parser.add_argument("tests", nargs="*", default=TESTS, help="files and folders; default: all that judge")
    parser.add_argument("--module", nargs="+", default=[*MODULES], help="below the package; default: all that decide")
    parser.add_argument("--root", type=Path, default=ROOT / PACKAGE, help="the package's folder")
    parser.add_argument("--count", type=int, default=150, help="of mutants drawn")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of the key: of what an earlier run printed")
    arguments = parser.parse_args()
    # The same examples each time; and the general path of soap/, which decides.
    os.environ.update(CI="1", SOAPBATCH_FAST="off")
    every = [mutant for module in arguments.module for mutant in mutants_of(module, arguments.root)]
    every = [mutant for mutant in every if arguments.only in mutant.key]
    random.Random(arguments.seed).shuffle(every)  # noqa: S311 - repeatable; a larger count begins with the same ones
    drawn = every if arguments.all else every[: arguments.count]
    run = Run(arguments.root, arguments.tests, [mutant for mutant in drawn if mutant.reason is None])
    run.run()
    sys.exit(report(drawn, run.outcomes))


def report(drawn: Sequence[Mutant], outcomes: Mapping[str, str]) -> int:
    """Print the counts for each module, and each survivor with its reason; return the exit status."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    unexplained: list[str] = []
    for mutant in drawn:
        outcome = outcomes.get(mutant.key, "accepted").split()[0].strip(":")
        counts[mutant.module][outcome] += 1
        if outcome == "accepted":
            print(f"accepted: {mutant.key}\n    {mutant.reason}")
        elif outcome == "survived":
            unexplained.append(mutant.key)
    total = sum(counts.values(), Counter[str]())
    for module, each in [*sorted(counts.items()), ("all", total)]:
        print(
            f"{module:30} {each.total():5d} made {each['killed']:5d} killed {each['hung']:4d} hung "
            f"{each['accepted']:4d} accepted {each['survived']:4d} unexplained"
        )
    share = (total["killed"] + total["hung"]) / max(1, total.total())
    print(f"{share:.1%} killed; {ENOUGH:.0%} are enough, if no survivor is unexplained")
    for key in unexplained:
        print(f"unexplained: {key}")
    return int(bool(unexplained) or share < ENOUGH)


if __name__ == "__main__":
    main()
