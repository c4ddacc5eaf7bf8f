"""Which binding a server takes: what one client knows, and what an answer says about the form of the request.

Rule 1. The documented form is tried first, then SOAP 1.1, then SOAP 1.2. A form that was refused comes last afterwards.
Rule 2. Only reads and logins are sent to find the binding. A call that changes something waits for a read.
Rule 3. While the binding is not known, each answer that is not the service's own may be a refusal of the form.
Rule 4. In SOAP 1.1 and 1.2 any answer of the service settles the binding. In the documented form, only a success of a
        call with a ticket does: some servers run the operation, and ignore header blocks that stand beside the Body.
        A failure may come from that, so the other forms are tried; if they fail in the same way, the documented form is
        taken. A result that is larger than `Limits` allows is a success here: the server would only send it again.
"""

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus

from soapbatch.errors import (
    AuthenticationFailed,
    BindingRefused,
    Fault,
    HttpError,
    OperationFailed,
    ProtocolError,
    SoapBatchError,
    UnreadableResponse,
    VersionMismatch,
)
from soapbatch.model import Binding
from soapbatch.system import log_record

_REFUSING_STATUSES = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.INTERNAL_SERVER_ERROR})
_SHOWN = 200  # characters of each answer in the note about them


class BindingSearch:
    """What a client knows of the bindings that its server takes.

    Attributes:
        binding: the binding to send; None: not known yet.
        has_worked: whether the service has answered in that binding.
        lock: held while one call finds the binding.
    """

    def __init__(self, pinned: Binding | None, base_url: str) -> None:
        """Begin with the `pinned` binding, or with none."""
        self.binding = pinned
        self.has_worked = False
        self.lock = asyncio.Lock()
        self._base_url = base_url
        self._refused: set[Binding] = set()

    def candidates(self) -> list[Binding]:
        """Return the bindings in the order in which to try them (Rule 1)."""
        return sorted(Binding, key=lambda binding: binding in self._refused)

    def note_refused(self, binding: Binding) -> None:
        """Note that the server has refused a binding."""
        self._refused.add(binding)

    def note_answer(self, binding: Binding) -> None:
        """Note that the service has answered in a binding."""
        self.has_worked = self.has_worked or binding is self.binding

    def settle(self, binding: Binding) -> None:
        """Stay with `binding` from now on, and log it unless it is the documented form."""
        self.binding, self.has_worked = binding, True
        if not binding.is_documented:
            log_record(
                logging.INFO,
                "%(url)s does not take the documented form of envelope: this client sends %(form)s from now on; "
                "binding=Binding.%(binding)s saves the search",
                url=self._base_url,
                form="SOAP 1.1" if binding is Binding.SOAP11 else "SOAP 1.2",
                binding=binding.name,
            )


def may_refuse_form(error: SoapBatchError) -> bool:
    """Return whether an answer may mean that the server does not take the form of the request.

    Source: recordings of ten SOAP endpoints that were sent the documented form. They answered HTTP 415; HTTP 400 or
    500, with a fault or without; faults of any code; an empty 200.
    """
    if isinstance(error, BindingRefused | VersionMismatch):
        return True
    if isinstance(error, Fault):
        return error.exception_info is None and not error.retryable
    if isinstance(error, UnreadableResponse):
        return not (error.excerpt or is_service_answer(error))
    return isinstance(error, HttpError) and error.status in _REFUSING_STATUSES


def is_service_answer(error: SoapBatchError) -> bool:
    """Return whether an error shows that the service has read the request: no proxy and no SOAP stack writes that.

    KDSoap answers HTTP 204 to each operation that has nothing to say, or that fails.
    """
    if isinstance(error, Fault):
        return error.exception_info is not None and not isinstance(error, VersionMismatch)
    if isinstance(error, ProtocolError):
        return error.applied == "yes" or error.status == HTTPStatus.NO_CONTENT
    return isinstance(error, OperationFailed | AuthenticationFailed)


def last_answer(answers: Mapping[Binding, SoapBatchError]) -> tuple[Binding, SoapBatchError, bool] | None:
    """Return the last answer of the service among the `answers`, and the binding that it speaks for (Rule 4).

    The third value says whether the service has also answered to the documented form. None: it has not answered at all.
    """
    failures = {binding: error for binding, error in answers.items() if not may_refuse_form(error)}
    if not failures:
        return None
    binding, failure = failures.popitem()
    documented = failures.get(Binding.DOCUMENTED)
    if type(documented) is type(failure) and str(documented) == str(failure):
        binding = Binding.DOCUMENTED
    return binding, failure, documented is not None


def answers_note(answers: Mapping[Binding, SoapBatchError]) -> str:
    """Return what the server answered to each binding, for the note of an error."""
    lines = [f"  {binding.name}: {type(error).__name__}: {error}"[:_SHOWN] for binding, error in answers.items()]
    return "\n".join(["No binding has worked yet. The server answered to", *lines])
