"""Responses written by hand, the way that other stacks write them."""

from soapbatch.model.services import SOAP11_ENVELOPE, SOAP12_ENVELOPE

TNS = "http://www.superoffice.net/ws/crm/NetServer/Services88"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
OK = "<Succeeded>true</Succeeded>"


def envelope(body: str, header: str | None = None, *, soap: str = SOAP11_ENVELOPE) -> bytes:
    """Return an envelope with this content; the service's namespace is the default one, `i` means xsi."""
    blocks = "" if header is None else f"<s:Header>{header}</s:Header>"
    start = f'<s:Envelope xmlns:s="{soap}" xmlns:i="{XSI}" xmlns="{TNS}">'
    return f"{start}{blocks}<s:Body>{body}</s:Body></s:Envelope>".encode()


def answer(operation: str, content: str, header: str | None = None) -> bytes:
    """Return the response of an operation with this content."""
    return envelope(f"<{operation}Response>{content}</{operation}Response>", header)


def task_list(items: str, header: str | None = None) -> bytes:
    """Return a response of GetBatchTaskInfosByState with these items."""
    return answer("GetBatchTaskInfosByState", f"<Response>{items}</Response>", header)


def fault11(content: str, header: str | None = None) -> bytes:
    """Return a SOAP 1.1 fault."""
    return envelope(f"<s:Fault>{content}</s:Fault>", header)


def fault12(content: str) -> bytes:
    """Return a SOAP 1.2 fault."""
    return envelope(f"<s:Fault>{content}</s:Fault>", soap=SOAP12_ENVELOPE)
