"""Values to envelope bytes, and bytes back to values or to the one error that says why not. Pure: no socket, no clock.

`template` lays an envelope out, `builder` fills it, `constraints` checks the values. `xml_input` takes bytes safely to
lxml, `parser` reads a response as it arrives, `decoders` turn elements into values, `interpret` decides what the whole
response means. `fast` holds what is fast because it is clever; everything works without it.
"""

from soapbatch.soap.builder import Request as Request, build_request as build_request, build_response as build_response
from soapbatch.soap.decoders import (
    BODY as BODY,
    HEADER as HEADER,
    BadValue as BadValue,
    Report as Report,
    Unknown as Unknown,
    fields_reader as fields_reader,
    ignore as ignore,
    local_name as local_name,
)
from soapbatch.soap.interpret import SESSION_LOST as SESSION_LOST, judge as judge, parse_response as parse_response
from soapbatch.soap.parser import CHUNK as CHUNK, ResponseParser as ResponseParser
from soapbatch.soap.xml_input import Utf8 as Utf8, XmlFeed as XmlFeed
