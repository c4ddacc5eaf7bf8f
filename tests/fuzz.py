"""Bounded fuzzing of the parser, repeatable by its seed; `make soak` runs it.

    python -m tests.fuzz [--seed 1] [--seconds 30] [--first 0]

Three fuzzers take turns, and each is counted:

    lists       lists of tasks with changed items: every way to read one (streamed, collected, in one go, with and
                without patterns) must say the same
    responses   documented and recorded responses, mangled, recoded and cut, with any status and Content-Type, as the
                response of any operation: they are read, or raise a SoapBatchError
    references  texts with references and CDATA sections: any pieces must say the same as the whole

The run fails on the first difference or foreign exception, and prints what to pass to see it again.
"""

import argparse
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from soapbatch.errors import SoapBatchError
from soapbatch.model import ServiceVersion
from soapbatch.operations import OPERATIONS
from soapbatch.soap.interpretation import parse_response
from soapbatch.testing.request_parser import parse_request
from tests.scenarios.test_hostile import FRAGMENTS
from tests.soap.fast.test_item_pattern import MUTATIONS, PLAIN, enveloped, mutated, pieces, twins
from tests.soap.test_recordings import ROWS, WIRE
from tests.soap.test_references import replaced

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
RESPONSES: Final = [
    *((path.name.split(".")[0], path) for path in sorted(FIXTURES.glob("Services88/*/*.response.xml"))),
    *((operation, WIRE / f"{name}.http") for name, operation, _ in ROWS),
]
ENCODINGS: Final = ("utf-8", "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "utf-32", "cp037")
CONTENT_TYPES: Final = (
    None,
    "text/xml; charset=utf-8",
    "text/xml; charset=iso-8859-1",
    "text/xml;charset*=a",
    "x/y, z",
)
STATUSES: Final = (*[200] * 20, 202, 302, 400, 401, 403, 404, 413, 415, 421, 429, 500, 500, 502, 503, 522)
PARTS: Final = [*"<>!-[]?&#x;1Ba ", "<![CDATA[", "]]>", "<!--", "-->", "&#xB;", "&#11;", "&#xD800;", "<a>", "</a>"]


def fuzz_lists(chance: random.Random) -> str:
    """Read a list with some changed items in every way; return what kind of answer it was."""
    names = chance.choices([*MUTATIONS], k=chance.randint(1, 3))
    count = chance.randint(6, 24)
    changes = {
        number: (MUTATIONS[chance.choice(names)], chance.randint(0, 3000))
        for number in chance.sample(range(count), chance.randint(1, count // 2))
    }
    said = twins(pieces(enveloped(mutated([PLAIN] * count, changes)), chance.choice((150, 401, 700, 3000))))
    return "lists read" if said[4] is None else "lists refused"


def fuzz_responses(chance: random.Random) -> str:
    """Read a mangled response; return what kind of answer it was."""
    operation, path = chance.choice(RESPONSES)
    body = path.read_bytes()
    if path.suffix == ".http":
        body = body.partition(b"\r\n\r\n")[2]
    if chance.random() < 0.1:
        operation = chance.choice([*OPERATIONS])
    body = body.decode("utf-8", "replace").encode(chance.choice(ENCODINGS), "replace")
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        at = chance.randint(0, len(body))
        body = body[:at] + chance.choice(FRAGMENTS) + body[at + chance.choice((0, 0, 1, 5, 40)) :]
    if chance.random() < 0.3:
        body = body[: chance.randint(0, len(body))]
    outcome = "responses read"
    try:
        parse_response(
            operation,
            body,
            version=ServiceVersion.V88,
            status=chance.choice(STATUSES),
            content_type=chance.choice(CONTENT_TYPES),
        )
    except SoapBatchError:
        outcome = "responses refused"
    with contextlib.suppress(SoapBatchError):
        parse_request(OPERATIONS[operation], body, version=ServiceVersion.V88)
    return outcome


def fuzz_references(chance: random.Random) -> str:
    """Replace the references of a text as a whole and in pieces."""
    body = "".join(chance.choices(PARTS, k=chance.randint(1, 40))).encode()
    whole = replaced(body)
    size = chance.randint(1, 12)
    assert replaced(body, size) == whole, (body, size)
    return "texts with references" if whole[1] else "texts without references"


FUZZERS: Final[tuple[Callable[[random.Random], str], ...]] = (fuzz_lists, fuzz_responses, fuzz_references)


def fuzz(seed: int, seconds: float, first: int = 0) -> Counter[str]:
    """Fuzz for so many seconds, from round `first` on; return how often each kind of answer came."""
    counts: Counter[str] = Counter()
    ends = time.monotonic() + seconds
    number = first
    while time.monotonic() < ends:
        case = f"{seed}-{number}"
        try:
            for fuzzer in FUZZERS:
                for turn in range(1 if fuzzer is fuzz_lists else 20):
                    counts[fuzzer(random.Random(f"{case}-{turn}"))] += 1  # noqa: S311 - repeatable
        except BaseException:
            print(f"failed in round {number}: repeat it with --seed {seed} --first {number}", file=sys.stderr)
            raise
        number += 1
    return counts


def main() -> None:
    """Fuzz, and print the counts."""
    parser = argparse.ArgumentParser(description="Fuzz the parser.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    counts = fuzz(arguments.seed, arguments.seconds, arguments.first)
    print(f"fuzz: seed {arguments.seed}, {sum(counts.values())} cases in {arguments.seconds:.0f} s, no difference")
    for kind, count in sorted(counts.items()):
        print(f"  {count:8d} {kind}")


if __name__ == "__main__":
    main()
