"""Values -> envelope bytes, and response bytes -> values, or one error. Pure: no socket, no clock.

Requests: `template` lays out an envelope, `constraints` checks the values, `builder` fills the envelope in.
Responses: `references` replaces what WCF writes and XML forbids, `xml_input` feeds bytes to lxml safely, `names` limits
the names in them, `response_shape` says which elements are looked for, `decoders` turn them into values, `base64_text`
decodes an output, `parser` drives all of them while the response arrives, and `interpretation` decides what the whole
response means: a result, or the one error.
`fast` holds code that is fast because it is clever. Everything works without it.
"""

from soapbatch.soap.builder import (
    PreparedRequest as PreparedRequest,
    Request as Request,
    build_request as build_request,
    build_response as build_response,
    prepare_request as prepare_request,
)
from soapbatch.soap.decoders import (
    BODY as BODY,
    HEADER as HEADER,
    UnknownCallback as UnknownCallback,
    UnknownItem as UnknownItem,
    fields_decoder as fields_decoder,
    ignore_unknown as ignore_unknown,
    local_name as local_name,
)
from soapbatch.soap.interpretation import (
    SESSION_LOST as SESSION_LOST,
    interpret as interpret,
    parse_response as parse_response,
)
from soapbatch.soap.names import names_of as names_of
from soapbatch.soap.parser import (
    CHUNK as CHUNK,
    ParsedResponse as ParsedResponse,
    Problem as Problem,
    ResponseParser as ResponseParser,
)
from soapbatch.soap.xml_input import SafeXmlParser as SafeXmlParser, Utf8Transcoder as Utf8Transcoder
