"""Values to envelope bytes, and bytes back to values or to the one error that says why not. Pure: no socket, no clock.

`template` lays an envelope out, `builder` fills it, `constraints` checks the values. `xml_input` takes bytes safely to
lxml, `parser` reads a response as it arrives, `decoders` turn elements into values, `interpret` decides what the whole
response means. `fast` holds what is fast because it is clever; everything works without it.
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
from soapbatch.soap.parser import CHUNK as CHUNK, ParsedResponse as ParsedResponse, ResponseParser as ResponseParser
from soapbatch.soap.xml_input import SafeXmlParser as SafeXmlParser, Utf8Transcoder as Utf8Transcoder
