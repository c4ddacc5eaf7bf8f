"""Which binding a server takes: what one client has found out, and which answers say that a form was refused.

Rule 1. The documented form is tried first, then SOAP 1.1, then SOAP 1.2.
Rule 2. A form works when a call that carries the client's ticket is answered by the service: a server may run an
        operation and not see the credentials, because it ignores header blocks that stand beside the Body.
Rule 3. While no form has worked, any answer that is not the service's own may be a refusal of the form.
Rule 4. Only reads are sent to find out. A call that changes something waits until a read has found the form.
"""

import asyncio
from http import HTTPStatus

from soapbatch.errors import (
    BindingRefused,
    Fault,
    HttpError,
    ServiceBusy,
    SoapBatchError,
    UnexpectedResponse,
    UnreadableResponse,
    VersionMismatch,
)
from soapbatch.model import Binding
from soapbatch.system import LOG

_REFUSING_STATUSES = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR})


class BindingSearch:
    """What a client knows of the bindings that its server takes.

    Attributes:
        binding: the form to send; None: not known yet.
        has_worked: whether the service has answered a call in that form.
        lock: held while one call finds out.
    """

    def __init__(self, pinned: Binding | None, base_url: str) -> None:
        """Begin with the `pinned` binding, or with none."""
        self.binding = pinned
        self.has_worked = False
        self.lock = asyncio.Lock()
        self._base_url = base_url
        self._refused: set[Binding] = set()
        self._understood: set[Binding] = set()

    def candidates(self) -> list[Binding]:
        """Return the forms to try, in order: those that were refused before come last."""
        return sorted(Binding, key=lambda binding: binding in self._refused)

    def is_refused(self, binding: Binding) -> bool:
        """Return whether the server has refused a form."""
        return binding in self._refused

    def note_refused(self, binding: Binding) -> None:
        """Note that the server has refused a form."""
        self._refused.add(binding)

    def is_understood(self, binding: Binding) -> bool:
        """Return whether the service has answered a call in a form, whether or not it saw credentials."""
        return binding in self._understood

    def note_understood(self, binding: Binding) -> None:
        """Note that the service has answered a call in a form."""
        self._understood.add(binding)

    def note_works(self, binding: Binding) -> None:
        """Note that the service has answered in `binding`: the client stays with it."""
        self.has_worked = True
        if self.binding is None:
            self.binding = binding
            if binding is not Binding.DOCUMENTED:
                form = "SOAP 1.1" if binding is Binding.SOAP11 else "SOAP 1.2"
                LOG.info(
                    "%s does not take the documented form of envelope: this client sends %s from now on; "
                    "binding=Binding.%s saves the search",
                    *(self._base_url, form, binding.name),
                )


def may_refuse_form(error: SoapBatchError) -> bool:
    """Return whether an answer may mean that the server does not take the form of the envelope.

    Source: recordings of ten SOAP stacks that were sent the documented form. They answered HTTP 415; HTTP 400 or 500,
    with a fault or without; faults of every code; an empty 200 or 204.
    """
    if isinstance(error, BindingRefused | VersionMismatch):
        return True
    if isinstance(error, Fault):
        return error.exception_info is None and error.retry_after is None
    if isinstance(error, UnreadableResponse | UnexpectedResponse):
        return not error.excerpt
    is_refusing = isinstance(error, HttpError) and error.status in _REFUSING_STATUSES
    return is_refusing and not isinstance(error, ServiceBusy)
