"""The mutants that survive, and why that is right: `tests/mutants.py` prints them.

A key is what `python -m tests.mutants` prints: module, function, line and change; without the change it stands for each
change of that line. When a line here is changed in the package, its key is stale, and tests/test_mutants.py says so: run
`python -m tests.mutants --all --module M --only "the line"`, and write what survives then.
"""

from typing import Final

_PACE: Final = "How many bytes are parsed, or pieces read, before other tasks get their turn: a tuned number."
_CLOSED: Final = "The loop reads the generator to its end, or the generator has raised: nothing is left to close."
_DECLARED: Final = "Declared for readers and type checkers: set again before it is read."
_MOMENT: Final = "The very moment: nothing depends on which side of it the clock stands."
_NO_WAIT: Final = "A wait or a timeout of less than zero seconds is none, as one of zero seconds."
_POSITIVE: Final = "The ids of tasks are positive."

_BY_REASON: Final[dict[str, list[str]]] = {
    _PACE: [
        "calls/exchange.py |  | _FIRST_STEP: Final = 4 * KIB  # bytes that are parsed at once, to begin with",
        "calls/exchange.py |  | _SLOW: Final = 0.003  # seconds of parsing after which other tasks get their turn",
        "calls/exchange.py | Exchange.read | self._step = min(self._step * 2, CHUNK) if taken < _SLOW / 2 else max(self._step // 2, _SMALLEST_STEP)",
        "calls/exchange.py |  | _READS_IN_A_ROW: Final = 16  # of pieces that are there already, before other tasks get their turn",
        "calls/exchange.py | Exchange.read | taken = time.perf_counter() - started | Sub to Add",
        "calls/exchange.py | Exchange._take_turns | self._reads += 1",
        "calls/exchange.py | Exchange._take_turns | self._busy = 0.0",
        "calls/exchange.py | Exchange.__init__ | self._busy = 0.0  # seconds of parsing since other tasks had their turn",
    ],
    _CLOSED: [
        "jobs/search.py | Search._read_list | async with contextlib.aclosing(kind(self.batch, self.name)) as tasks:",
        "jobs/search.py | Search._read_all_jobs | async with contextlib.aclosing(OF_ALL_ASSOCIATES(self.batch, ANY_JOB)) as tasks:",
        "jobs/start.py | _other_job | async with contextlib.aclosing(stream_tasks(batch, request.name, deadline.call_options)) as tasks:",
    ],
    _DECLARED: [
        "jobs/poller.py | Poller.__init__ | self._had_a_round = False  # of the present asyncio task",
        "jobs/poller.py | Poller.__init__ | self._jitter = 0.0  # one for a whole round: it spreads clients, and must not spread the tasks of one client",
        "jobs/poller.py | Poller._read_list | is_complete = False",
        "transport/send_state.py | Trace.__init__ | self._has_yielded = True",
    ],
    _MOMENT: [
        "transport/pool.py | ConnectionPool._expire | while self._idle and self._idle[0].idle_since + self._keep_alive <= loop.time(): | LtE to Lt",
        "auth/ticket_manager.py | TicketManager._current | if held is not None and (now < held.renew_at or not self._renews): | Lt to LtE",
    ],
    _NO_WAIT: [
        "model/retry.py | Backoff.delay | return max(wait, min(retry_after or 0.0, self.longest_retry_after)) | 0.0 to -1.0",
        "calls/call.py | Call._note_time | self._left = max(0.0, self._ends - asyncio.get_running_loop().time()) | 0.0 to -1.0",
        'jobs/start.py | Deadline.call_options | return {} if self.at is None else {"timeout": max(0.0, self.at - asyncio.get_running_loop().time())} | 0.0 to -1.0',
        "jobs/search.py | Search.read_until | await asyncio.sleep(max(0.0, min(_BETWEEN_LISTS.delay(readings), last_at - loop.time()))) | 0.0 to -1.0",
        "calls/exchange.py | Exchange.close | await asyncio.sleep(0) | 0 to -1",
        "calls/exchange.py | Exchange._take_turns | await asyncio.sleep(0) | 0 to -1",
    ],
    _POSITIVE: [
        "jobs/start.py | _MarkedStart._find_earlier | search = self._search(after_id=0, since=None) | 0 to -1",
        "jobs/start.py | _other_job | if not info.has_ended and info.id is not None and (newest is None or info.id > (newest.id or 0)): | 0 to -1",
        "jobs/search.py | Known | highest_id: int = 0 | 0 to -1",
    ],
    "Who looks for a key does not ask which other tasks are new.": [
        "jobs/search.py | Search | after_id: int = 0",
    ],
    "Whoever waits for the end looks again: it is woken for nothing.": [
        "calls/lifetime.py | Lifetime._note_idle | if not (self._scopes or self._paused): | Or to And",
    ],
    "The phase is set again before anything is awaited that could end the call.": [
        'calls/call.py | Call._attempt | self._state = SendState(phase="login") | without phase= | 2',
        'calls/call.py | Call._attempt | self._state = SendState(phase="login") | login to waiting | 2',
    ],
    "Saves looking for the proxy of the same URL again.": [
        "calls/call.py | CallContext.check_proxy | self._safe_urls.add(base_url) | without the statement",
    ],
    "The last subscription that ends stops the poller, too.": [
        "jobs/poller.py | Poller.aclose | await self._stop()",
    ],
    "Errors of these classes have one argument.": [
        'auth/ticket_manager.py | _for_one_more | other.args = (f"{_OF_A_LOGIN}{error}", *error.args[1:]) | 1 to 2',
    ],
    "A thousand lines more or less one.": [
        'transport/connection.py | Connection._receive_head | self._begin, rest, lines = b"", b"", 0',
    ],
    "`Client.aclose` has said so already.": [
        "calls/lifetime.py | Lifetime.end | self.is_closing = True",
    ],
    "The newest task has an id: the alternative is for type checkers.": [
        "jobs/start.py | _other_job | if not info.has_ended and info.id is not None and (newest is None or info.id > (newest.id or 0)): | 0 to 1",
    ],
    "There is such a field: the alternative is for type checkers.": [
        'jobs/marker.py |  | _LONGEST_DESCRIPTION: Final = next(f.max_length for f in BATCH_TASK_INFO.fields if f.attribute == "description") or 0 | 0 to 1',
        'jobs/marker.py |  | _LONGEST_DESCRIPTION: Final = next(f.max_length for f in BATCH_TASK_INFO.fields if f.attribute == "description") or 0 | 0 to -1',
    ],
    "The chunk has one id: the first one is the last one.": [
        'jobs/bulk.py | _delete | gone = task_gone(ids[0], applied="no") | 0 to -1',
        "jobs/bulk.py | _delete | return {ids[0]: error} | 0 to -1",
        "jobs/bulk.py | _delete | return {ids[0]: gone} | 0 to -1",
    ],
    "A list of unknown length is worth reading, whether it is taken for one of no task or of one.": [
        "jobs/task_reader.py | plan_reads.is_worth_a_list | return len(ids) >= MIN_FOR_LIST and lengths.get(name, 0) <= MAX_LIST_RATIO * len(ids) | 0 to 1",
        "jobs/task_reader.py | plan_reads.is_worth_a_list | return len(ids) >= MIN_FOR_LIST and lengths.get(name, 0) <= MAX_LIST_RATIO * len(ids) | 0 to -1",
    ],
    "Saves time: the hooks of the loop matter for the first item alone.": [
        "system/cancellation.py | closing_inside.__anext__ | self._is_started = True",
    ],
    "Five bytes tell how long a reply is, and none is shorter than seven.": [
        "transport/connection.py | _socks_length | return 5 if has_address else 2 | 5 to 6",
    ],
    "httpx returns a context as it is: a thread is saved.": [
        "transport/connection.py | TlsContext.__init__ | self._made = verify | without the statement",
    ],
    "Above a mebibyte, one byte more or less of an expansion decides nothing.": [
        "transport/decompression.py | Decompressor._inflate | if self._produced > _RATIO_FROM and self._produced > self._expansion * self._inflated: | Gt to GtE",
        "transport/decompression.py | Decompressor._inflate | if self._produced > _RATIO_FROM and self._produced > self._expansion * self._inflated: | Gt to GtE | 2",
    ],
    "A reply with an address of no known kind is refused, whatever its length.": [
        "transport/connection.py | _socks_length | return 6 + sizes.get(reply[3], 0) | 0 to -1",
        "transport/connection.py | _socks_length | return 6 + sizes.get(reply[3], 0) | 0 to 1",
    ],
    "Any number of doublings that keeps the wait finite, and is longer than the longest.": [
        "model/retry.py |  | _MOST_DOUBLINGS = 60  # keeps 2.0 ** n finite",
    ],
}

ACCEPTED: Final = {key: reason for reason, keys in _BY_REASON.items() for key in keys}
