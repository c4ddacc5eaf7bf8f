"""What independent SOAP stacks answered, and what it means: one row for every recording in fixtures/wire."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from soapbatch.errors import Fault, OperationFailed, ProtocolError, SoapBatchError
from soapbatch.model.batch import BatchTaskInfo
from soapbatch.model.principal import AuthenticateResponse, SoSystemInfoCarrier
from soapbatch.model.services import ServiceVersion
from soapbatch.operations import OPERATIONS
from soapbatch.soap.interpretation import parse_response

WIRE = Path(__file__).parents[2] / "fixtures" / "wire"

# file | operation | outcome: a value's summary, or an error with what it is matched on, and `applied`; then, behind
# "+", what was passed over as unknown (its kind's first word, and its name).
TABLE = """
gsoap/documented/get_one                          | GET    | Fault Sender, applied unknown
gsoap/documented/login_ok                         | LOGIN  | login of bob
gsoap/documented/start                            | START  | Fault Sender, applied unknown
gsoap/soap11/all_by_name                          | ALL    | tasks [1]
gsoap/soap11/bad_ticket                           | GET    | OperationFailed SoSessionException, applied no
gsoap/soap11/by_associates                        | USERS  | tasks [1]
gsoap/soap11/delete_many                          | MANY   | None
gsoap/soap11/delete_unknown                       | DELETE | OperationFailed SoEntityNotFoundException, applied unknown
gsoap/soap11/generic                              | GENERIC | login of bob
gsoap/soap11/get_nil                              | GET    | None
gsoap/soap11/get_one                              | GET    | task 3, Started
gsoap/soap11/get_unknown                          | GET    | OperationFailed SoEntityNotFoundException, applied unknown
gsoap/soap11/implicit                             | IMPLIC | AuthenticationFailed flag, applied no
gsoap/soap11/list_3                               | LIST   | tasks [1, 2, 3]
gsoap/soap11/list_ctrl                            | LIST   | tasks [1] + character &#x1B; + character &#xB;
gsoap/soap11/list_dates                           | LIST   | tasks []
gsoap/soap11/list_empty                           | LIST   | tasks []
gsoap/soap11/list_fail                            | LIST   | OperationFailed SoException, applied unknown
gsoap/soap11/list_fatal                           | LIST   | tasks []
gsoap/soap11/list_fault                           | LIST   | Fault Sender, applied unknown + header Credentials
gsoap/soap11/list_faultdetail                     | LIST   | Fault Receiver, applied unknown + header Credentials
gsoap/soap11/list_nil                             | LIST   | tasks [None]
gsoap/soap11/list_null                            | LIST   | tasks []
gsoap/soap11/list_nullitem                        | LIST   | tasks [1, 2]
gsoap/soap11/list_text                            | LIST   | tasks [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
gsoap/soap11/list_unhandled                       | LIST   | tasks []
gsoap/soap11/login_boom                           | LOGIN  | OperationFailed SoLicenseException, applied unknown
gsoap/soap11/login_ok                             | LOGIN  | login of bob
gsoap/soap11/login_refused                        | LOGIN  | AuthenticationFailed flag, applied no
gsoap/soap11/no_ticket                            | GET    | OperationFailed SoSessionException, applied no
gsoap/soap11/start                                | START  | 1
gsoap/soap11/start_enum_bad                       | UPDATE | Fault Sender, applied unknown
gsoap/soap11/stop_unknown                         | STOP   | OperationFailed SoEntityNotFoundException, applied unknown
gsoap/soap11/system_info                          | SYSTEM | system Lab gSOAP æøå, None
gsoap/soap11/token                                | TOKEN  | login of bob
gsoap/soap11/update_unknown                       | UPDATE | OperationFailed SoEntityNotFoundException, applied unknown
gsoap/soap12/all_by_name                          | ALL    | tasks [1, 2]
gsoap/soap12/bad_ticket                           | GET    | OperationFailed SoSessionException, applied no
gsoap/soap12/by_associates                        | USERS  | tasks [1, 2]
gsoap/soap12/delete_many                          | MANY   | None
gsoap/soap12/delete_unknown                       | DELETE | OperationFailed SoEntityNotFoundException, applied unknown
gsoap/soap12/generic                              | GENERIC | login of bob
gsoap/soap12/get_nil                              | GET    | None
gsoap/soap12/get_one                              | GET    | task 3, Started
gsoap/soap12/get_unknown                          | GET    | OperationFailed SoEntityNotFoundException, applied unknown
gsoap/soap12/implicit                             | IMPLIC | AuthenticationFailed flag, applied no
gsoap/soap12/list_3                               | LIST   | tasks [1, 2, 3]
gsoap/soap12/list_ctrl                            | LIST   | tasks [1] + character &#x1B; + character &#xB;
gsoap/soap12/list_dates                           | LIST   | tasks []
gsoap/soap12/list_empty                           | LIST   | tasks []
gsoap/soap12/list_fail                            | LIST   | OperationFailed SoException, applied unknown
gsoap/soap12/list_fatal                           | LIST   | tasks []
gsoap/soap12/list_fault                           | LIST   | Fault Sender, applied unknown + header Credentials
gsoap/soap12/list_faultdetail                     | LIST   | Fault Receiver, applied unknown + header Credentials
gsoap/soap12/list_nil                             | LIST   | tasks [None]
gsoap/soap12/list_null                            | LIST   | tasks []
gsoap/soap12/list_nullitem                        | LIST   | tasks [1, 2]
gsoap/soap12/list_text                            | LIST   | tasks [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
gsoap/soap12/list_unhandled                       | LIST   | tasks []
gsoap/soap12/login_boom                           | LOGIN  | OperationFailed SoLicenseException, applied unknown
gsoap/soap12/login_ok                             | LOGIN  | login of bob
gsoap/soap12/login_refused                        | LOGIN  | AuthenticationFailed flag, applied no
gsoap/soap12/no_ticket                            | GET    | OperationFailed SoSessionException, applied no
gsoap/soap12/start                                | START  | 2
gsoap/soap12/start_enum_bad                       | UPDATE | Fault Sender, applied unknown
gsoap/soap12/stop_unknown                         | STOP   | OperationFailed SoEntityNotFoundException, applied unknown
gsoap/soap12/system_info                          | SYSTEM | system Lab gSOAP æøå, None
gsoap/soap12/token                                | TOKEN  | login of bob
gsoap/soap12/update_unknown                       | UPDATE | OperationFailed SoEntityNotFoundException, applied unknown
jaxws11/A04_plain11_no_action                     | GET    | task 3, Started
jaxws11/A08_plain11_unknown_action                | GET    | task 3, Started
jaxws11/A12_11_tokens_under_envelope              | GET    | Fault Server, applied unknown
jaxws11/A17_11_bad_ticket                         | GET    | OperationFailed SoException, applied unknown
jaxws11/A18_11_mustUnderstand_unknown             | GET    | Fault MustUnderstand, applied no
jaxws11/A28_11_malformed                          | GET    | Fault Server, applied unknown
jaxws11/A35_11_wrong_ns_body                      | GET    | Fault Client, applied unknown
jaxws11/B01_doc12_asis_soapxml_action             | GET    | BindingRefused HTTP 415, applied no
jaxws11/B02_doc12_asis_textxml_action             | GET    | VersionMismatch VersionMismatch, applied no
jaxws11/B03_doc12_asis_soapxml_noaction           | GET    | BindingRefused HTTP 415, applied no
jaxws11/B04_doc12_with_Header_soapxml_action      | GET    | BindingRefused HTTP 415, applied no
jaxws11/B06_plain12_soapxml_action                | GET    | BindingRefused HTTP 415, applied no
jaxws11/H04_unknown_path                          | GET    | HttpError HTTP 404, applied no
jaxws11/fail_bad_ticket                           | LIST   | OperationFailed SoException, applied unknown
jaxws11/fail_delete_again                         | DELETE | OperationFailed SoException, applied unknown
jaxws11/fail_get_unknown_id                       | GET    | OperationFailed SoException, applied unknown
jaxws11/fail_no_credentials                       | LIST   | OperationFailed SoException, applied unknown
jaxws11/fail_update_unknown                       | UPDATE | OperationFailed SoException, applied unknown
jaxws11/get_members_out_of_order                  | GET    | task 2, New
jaxws11/list_absent                               | LIST   | tasks [None]
jaxws11/list_ctrl                                 | LIST   | UnreadableResponse HTTP 200, applied yes
jaxws11/list_dates                                | LIST   | tasks [1, 2, 3, 4, 5, 6, 7, 8, 9]
jaxws11/list_empty                                | LIST   | tasks []
jaxws11/list_fail                                 | LIST   | OperationFailed SoException, applied unknown
jaxws11/list_fault                                | LIST   | Fault Server, applied unknown
jaxws11/list_faultcode                            | LIST   | Fault Client, applied unknown
jaxws11/list_faultdetail                          | LIST   | Fault Client, applied unknown
jaxws11/list_nil                                  | LIST   | tasks [None]
jaxws11/list_null                                 | LIST   | tasks []
jaxws11/list_nullitem                             | LIST   | tasks [1, 2] + nil BatchTaskInfo
jaxws11/list_rights                               | LIST   | tasks [1]
jaxws11/list_text                                 | LIST   | tasks [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
jaxws11/list_unhandled                            | LIST   | Fault Server, applied unknown
jaxws11/ok_by_associates                          | USERS  | tasks [1]
jaxws11/ok_by_associates_emptyarray               | USERS  | tasks []
jaxws11/ok_by_associates_nil                      | USERS  | tasks []
jaxws11/ok_delete                                 | DELETE | None
jaxws11/ok_delete_many                            | MANY   | None
jaxws11/ok_get_null_response                      | GET    | None
jaxws11/ok_get_one                                | GET    | task 2, Aquired
jaxws11/ok_get_started                            | GET    | task 1, New
jaxws11/ok_list3_extra_tz                         | LIST   | tasks [1, 2, 3]
jaxws11/ok_start                                  | START  | 1
jaxws11/ok_stop                                   | STOP   | False
jaxws11/ok_stop_again_false                       | STOP   | False
jaxws11/ok_update                                 | UPDATE | task 1, Started
jaxws11/start_members_out_of_order                | START  | 2
mono-basic11/A04_plain11_no_action                | GET    | Fault ActionNotSupported, applied no
mono-basic11/A08_plain11_unknown_action           | GET    | Fault ActionNotSupported, applied no
mono-basic11/A12_11_tokens_under_envelope         | GET    | UnreadableResponse HTTP 200, applied unknown
mono-basic11/A17_11_bad_ticket                    | GET    | OperationFailed SoSessionException, applied no
mono-basic11/A18_11_mustUnderstand_unknown        | GET    | task 3, Started
mono-basic11/A28_11_malformed                     | GET    | UnreadableResponse HTTP 200, applied unknown
mono-basic11/A35_11_wrong_ns_body                 | GET    | UnreadableResponse HTTP 200, applied unknown
mono-basic11/B01_doc12_asis_soapxml_action        | GET    | BindingRefused HTTP 415, applied no
mono-basic11/B03_doc12_asis_soapxml_noaction      | GET    | BindingRefused HTTP 415, applied no
mono-basic11/B04_doc12_with_Header_soapxml_action | GET    | BindingRefused HTTP 415, applied no
mono-basic11/B06_plain12_soapxml_action           | GET    | BindingRefused HTTP 415, applied no
mono-basic11/H04_unknown_path                     | GET    | HttpError HTTP 400, applied unknown
mono-basic11/auth_exception                       | LOGIN  | OperationFailed SoLicenseException, applied unknown
mono-basic11/auth_ok                              | LOGIN  | login of bob + nil string
mono-basic11/auth_wrong_password                  | LOGIN  | AuthenticationFailed flag, applied no
mono-basic11/fail_bad_ticket                      | LIST   | OperationFailed SoSessionException, applied no
mono-basic11/fail_delete_again                    | DELETE | OperationFailed SoEntityNotFoundException, applied unknown
mono-basic11/fail_get_unknown_id                  | GET    | OperationFailed SoEntityNotFoundException, applied unknown
mono-basic11/fail_no_credentials                  | LIST   | OperationFailed SoSessionException, applied no
mono-basic11/fail_update_unknown                  | UPDATE | OperationFailed SoEntityNotFoundException, applied unknown
mono-basic11/get_members_out_of_order             | GET    | task 2, New
mono-basic11/list_absent                          | LIST   | tasks []
mono-basic11/list_badenum                         | LIST   | Fault Receiver, applied unknown
mono-basic11/list_ctrl                            | LIST   | tasks [1] + character &#x1B; + character &#x0; + character &#xB;
mono-basic11/list_dates                           | LIST   | tasks [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
mono-basic11/list_empty                           | LIST   | tasks []
mono-basic11/list_fail                            | LIST   | OperationFailed SoException, applied unknown
mono-basic11/list_fault                           | LIST   | Fault Sender, applied unknown
mono-basic11/list_faultcode                       | LIST   | Fault Sender, applied unknown
mono-basic11/list_faultdetail                     | LIST   | Fault Sender, applied unknown
mono-basic11/list_fffe                            | LIST   | tasks [1] + character &#xFFFE; + character &#xFFFF;
mono-basic11/list_nil                             | LIST   | tasks [0]
mono-basic11/list_null                            | LIST   | tasks []
mono-basic11/list_nullitem                        | LIST   | tasks [1, 2] + nil BatchTaskInfo
mono-basic11/list_rights                          | LIST   | tasks [1]
mono-basic11/list_surrogate                       | LIST   | Fault InternalServiceFault, applied unknown + header Action
mono-basic11/list_text                            | LIST   | tasks [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
mono-basic11/list_unhandled                       | LIST   | Fault InternalServiceFault, applied unknown + header Action
mono-basic11/list_xsinil                          | LIST   | tasks []
mono-basic11/ok_by_associates                     | USERS  | tasks [1]
mono-basic11/ok_by_associates_emptyarray          | USERS  | tasks []
mono-basic11/ok_by_associates_nil                 | USERS  | tasks []
mono-basic11/ok_delete                            | DELETE | None
mono-basic11/ok_delete_many                       | MANY   | None
mono-basic11/ok_get_null_response                 | GET    | None
mono-basic11/ok_get_one                           | GET    | task 2, Aquired
mono-basic11/ok_get_started                       | GET    | task 1, New
mono-basic11/ok_list3_extra_tz                    | LIST   | tasks [1, 2, 3]
mono-basic11/ok_start                             | START  | 1
mono-basic11/ok_stop                              | STOP   | True
mono-basic11/ok_stop_again_false                  | STOP   | False
mono-basic11/ok_update                            | UPDATE | task 1, Started
mono-basic11/start_members_out_of_order           | START  | 2
mono-basic11/sysinfo                              | SYSTEM | system Lab, 10.0
node-soap/A04_plain11_no_action                   | GET    | task 3, Started
node-soap/A08_plain11_unknown_action              | GET    | Fault Server/InternalServerError, applied unknown
node-soap/A12_11_tokens_under_envelope            | GET    | OperationFailed untyped, applied unknown
node-soap/A17_11_bad_ticket                       | GET    | OperationFailed untyped, applied unknown
node-soap/A18_11_mustUnderstand_unknown           | GET    | task 3, Started
node-soap/A28_11_malformed                        | GET    | Fault 500, applied unknown + header Security
node-soap/A35_11_wrong_ns_body                    | GET    | task 3, Started
node-soap/B01_doc12_asis_soapxml_action           | GET    | OperationFailed untyped, applied unknown
node-soap/B02_doc12_asis_textxml_action           | GET    | OperationFailed untyped, applied unknown
node-soap/B03_doc12_asis_soapxml_noaction         | GET    | OperationFailed untyped, applied unknown
node-soap/B04_doc12_with_Header_soapxml_action    | GET    | task 0, Unknown
node-soap/B06_plain12_soapxml_action              | GET    | task 3, Started
node-soap/H04_unknown_path                        | GET    | HttpError HTTP 404, applied no
node-soap/fail_bad_ticket                         | LIST   | OperationFailed untyped, applied unknown
node-soap/fail_delete_again                       | DELETE | OperationFailed untyped, applied unknown
node-soap/fail_get_unknown_id                     | GET    | OperationFailed untyped, applied unknown
node-soap/fail_no_credentials                     | LIST   | OperationFailed untyped, applied unknown
node-soap/fail_update_unknown                     | UPDATE | OperationFailed untyped, applied unknown
node-soap/get_members_out_of_order                | GET    | task 2, New
node-soap/list_ctrl                               | LIST   | UnreadableResponse HTTP 200, applied yes
node-soap/list_dates                              | LIST   | tasks [1, 2, 3, 4, 5, 6]
node-soap/list_empty                              | LIST   | tasks []
node-soap/list_fail                               | LIST   | OperationFailed untyped, applied unknown
node-soap/list_fault                              | LIST   | Fault Server, applied unknown
node-soap/list_faultcode                          | LIST   | Fault Sender/BadArguments, applied unknown
node-soap/list_faultdetail                        | LIST   | Fault Client, applied unknown
node-soap/list_nil                                | LIST   | tasks [None]
node-soap/list_null                               | LIST   | tasks []
node-soap/list_nullitem                           | LIST   | tasks [1, None, 2]
node-soap/list_text                               | LIST   | tasks [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
node-soap/list_unhandled                          | LIST   | Fault Server/InternalServerError, applied unknown
node-soap/list_xsinil                             | LIST   | UnreadableResponse HTTP 200, applied yes
node-soap/ok_by_associates                        | USERS  | tasks [1]
node-soap/ok_by_associates_emptyarray             | USERS  | tasks []
node-soap/ok_by_associates_nil                    | USERS  | tasks []
node-soap/ok_delete                               | DELETE | None
node-soap/ok_delete_many                          | MANY   | None
node-soap/ok_get_null_response                    | GET    | None
node-soap/ok_get_one                              | GET    | task 2, Aquired
node-soap/ok_get_started                          | GET    | task 1, New
node-soap/ok_list3_extra_tz                       | LIST   | tasks [1, 2, 3]
node-soap/ok_start                                | START  | 1
node-soap/ok_stop                                 | STOP   | False
node-soap/ok_stop_again_false                     | STOP   | False
node-soap/ok_update                               | UPDATE | task 1, Started
node-soap/start_members_out_of_order              | START  | 2
spyne11/documented/get_one                        | GET    | Fault Client.SoapError, applied unknown
spyne11/documented/login_ok                       | LOGIN  | Fault Client.SoapError, applied unknown
spyne11/documented/start                          | START  | Fault Client.SoapError, applied unknown
spyne11/soap11/all_by_name                        | ALL    | tasks [109] + header boolean
spyne11/soap11/bad_ticket                         | GET    | OperationFailed SoSessionException, applied no + header boolean
spyne11/soap11/by_associates                      | USERS  | tasks [109] + header boolean
spyne11/soap11/delete_many                        | MANY   | None + header boolean
spyne11/soap11/delete_unknown                     | DELETE | OperationFailed SoEntityNotFoundException, applied unknown + header boolean
spyne11/soap11/generic                            | GENERIC | login of bob + header boolean + nil string
spyne11/soap11/get_nil                            | GET    | None + header boolean
spyne11/soap11/get_one                            | GET    | task 3, Started + header boolean
spyne11/soap11/get_unknown                        | GET    | OperationFailed SoEntityNotFoundException, applied unknown + header boolean
spyne11/soap11/implicit                           | IMPLIC | AuthenticationFailed flag, applied no + header boolean
spyne11/soap11/list_3                             | LIST   | tasks [1, 2, 3] + header boolean
spyne11/soap11/list_ctrl                          | LIST   | tasks [] + header boolean
spyne11/soap11/list_dates                         | LIST   | tasks [] + header boolean
spyne11/soap11/list_empty                         | LIST   | tasks [] + header boolean
spyne11/soap11/list_fail                          | LIST   | OperationFailed SoException, applied unknown + header boolean
spyne11/soap11/list_fatal                         | LIST   | tasks [] + header boolean
spyne11/soap11/list_fault                         | LIST   | Fault Client.Lab, applied unknown
spyne11/soap11/list_faultdetail                   | LIST   | tasks [] + header boolean
spyne11/soap11/list_nil                           | LIST   | tasks [None] + header boolean
spyne11/soap11/list_null                          | LIST   | tasks [] + header boolean
spyne11/soap11/list_nullitem                      | LIST   | tasks [1, 2] + header boolean + nil BatchTaskInfo
spyne11/soap11/list_text                          | LIST   | tasks [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] + header boolean
spyne11/soap11/list_unhandled                     | LIST   | Fault Server, applied unknown
spyne11/soap11/login_boom                         | LOGIN  | OperationFailed SoLicenseException, applied unknown + header boolean
spyne11/soap11/login_ok                           | LOGIN  | login of bob + header boolean + nil string
spyne11/soap11/login_refused                      | LOGIN  | AuthenticationFailed flag, applied no + header boolean
spyne11/soap11/no_ticket                          | GET    | OperationFailed SoSessionException, applied no + header boolean
spyne11/soap11/start                              | START  | 109 + header boolean
spyne11/soap11/start_enum_bad                     | UPDATE | HttpError HTTP 500, applied unknown
spyne11/soap11/stop_unknown                       | STOP   | OperationFailed SoEntityNotFoundException, applied unknown + header boolean
spyne11/soap11/system_info                        | SYSTEM | system Lab Spyne æøå, 10 + header boolean
spyne11/soap11/token                              | TOKEN  | login of bob + header boolean + nil string
spyne11/soap11/update_unknown                     | UPDATE | OperationFailed SoEntityNotFoundException, applied unknown + header boolean
spyne11/soap12/all_by_name                        | ALL    | Fault Client.SoapError, applied unknown
spyne11/soap12/bad_ticket                         | GET    | Fault Client.SoapError, applied unknown
spyne11/soap12/by_associates                      | USERS  | Fault Client.SoapError, applied unknown
spyne11/soap12/delete_many                        | MANY   | Fault Client.SoapError, applied unknown
spyne11/soap12/delete_unknown                     | DELETE | Fault Client.SoapError, applied unknown
spyne11/soap12/generic                            | GENERIC | Fault Client.SoapError, applied unknown
spyne11/soap12/get_nil                            | GET    | Fault Client.SoapError, applied unknown
spyne11/soap12/get_one                            | GET    | Fault Client.SoapError, applied unknown
spyne11/soap12/get_unknown                        | GET    | Fault Client.SoapError, applied unknown
spyne11/soap12/implicit                           | IMPLIC | Fault Client.SoapError, applied unknown
spyne11/soap12/list_3                             | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_ctrl                          | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_dates                         | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_empty                         | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_fail                          | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_fatal                         | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_fault                         | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_faultdetail                   | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_nil                           | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_null                          | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_nullitem                      | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_text                          | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/list_unhandled                     | LIST   | Fault Client.SoapError, applied unknown
spyne11/soap12/login_boom                         | LOGIN  | Fault Client.SoapError, applied unknown
spyne11/soap12/login_ok                           | LOGIN  | Fault Client.SoapError, applied unknown
spyne11/soap12/login_refused                      | LOGIN  | Fault Client.SoapError, applied unknown
spyne11/soap12/no_ticket                          | GET    | Fault Client.SoapError, applied unknown
spyne11/soap12/start                              | START  | Fault Client.SoapError, applied unknown
spyne11/soap12/start_enum_bad                     | UPDATE | Fault Client.SoapError, applied unknown
spyne11/soap12/stop_unknown                       | STOP   | Fault Client.SoapError, applied unknown
spyne11/soap12/system_info                        | SYSTEM | Fault Client.SoapError, applied unknown
spyne11/soap12/token                              | TOKEN  | Fault Client.SoapError, applied unknown
spyne11/soap12/update_unknown                     | UPDATE | Fault Client.SoapError, applied unknown
"""
NAMES = {
    "GET": "GetBatchTaskInfo",
    "LIST": "GetBatchTaskInfosByNameAndState",
    "USERS": "GetBatchTaskInfosByAssociates",
    "START": "StartBatchJob",
    "STOP": "StopBatchJob",
    "UPDATE": "UpdateBatchTask",
    "DELETE": "DeleteBatchTask",
    "MANY": "DeleteBatchTasks",
    "LOGIN": "AuthenticateUsernamePassword",
    "SYSTEM": "GetSystemInfo",
    "ALL": "GetAllBatchTaskInfosByName",
    "GENERIC": "AuthenticateGeneric",
    "IMPLIC": "AuthenticateImplicit",
    "TOKEN": "AuthenticateWithAccessToken",
}
CELLS = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
ROWS = [(name, NAMES[operation], expected) for name, operation, expected in CELLS]


def read(path: Path) -> tuple[int, str | None, bytes]:
    """Return status, Content-Type and body of a recorded answer."""
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    found = re.search(rb"^content-type:\s*(.*?)\s*$", head, re.IGNORECASE | re.MULTILINE)
    return int(head.split()[1]), found and found[1].decode("ascii"), body


def summary(value: Any) -> str:
    """Return on half a line what came out."""
    match value:
        case Fault():
            about = value.code + (f"/{value.subcode}" if value.subcode else "")
        case OperationFailed():
            about = value.error_type or "untyped"
        case ProtocolError():
            about = f"HTTP {value.status}"
        case SoapBatchError():
            about = "flag"
        case list():
            return f"tasks {[task.id for task in value]}"
        case BatchTaskInfo():
            return f"task {value.id}, {value.state}"
        case AuthenticateResponse():
            return f"login of {value.response and value.response.associate}"
        case SoSystemInfoCarrier():
            return f"system {value.company_name}, {value.file_version}"
        case _:
            return repr(value)
    return f"{type(value).__name__} {about}, applied {value.applied}"


@pytest.mark.parametrize("short", [10**6, -1], ids=["whole", "incrementally"])
@pytest.mark.parametrize(("name", "operation", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_what_a_recorded_answer_means(
    name: str, operation: str, expected: str, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each recorded answer gives the value or the error of its row, whether it is read as a whole or as it comes."""
    monkeypatch.setattr("soapbatch.soap.fast.short_response._SHORT", short)
    status, content_type, body = read(WIRE / f"{name}.http")
    unknown: list[Any] = []
    try:
        outcome = summary(
            parse_response(
                operation,
                body,
                version=ServiceVersion.V88,
                status=status,
                content_type=content_type,
                on_unknown=unknown.append,
            )
        )
    except SoapBatchError as error:
        assert (error.operation, error.version) == (operation, ServiceVersion.V88)  # noqa: PT017 - most do not raise
        outcome = summary(error)
    assert "".join([outcome, *(f" + {report.kind.split()[0]} {report.name}" for report in unknown)]) == expected


def test_every_recording_has_a_row() -> None:
    """No recording lies in the folder without an expected outcome, and every row names one."""
    assert {row[0] for row in ROWS} == {str(path.relative_to(WIRE).with_suffix("")) for path in WIRE.rglob("*.http")}
    assert {row[1] for row in ROWS} <= set(OPERATIONS)
    for path in WIRE.glob("*/operations.json"):
        operations = json.loads(path.read_text())
        rows = {name: operation for name, operation, _ in ROWS if name.startswith(f"{path.parent.name}/")}
        assert rows == {f"{path.parent.name}/{name}": operation for name, operation in operations.items()}


def test_the_recordings_are_copied_to_the_byte(shared: Path) -> None:
    """The fixtures are the shared recordings, but for the one in which no answer came."""
    for original in (shared / "wire").rglob("*.http"):
        copy = WIRE / original.relative_to(shared / "wire")
        if original.read_bytes().startswith(b"HTTP/"):
            assert copy.read_bytes() == original.read_bytes(), copy
        else:
            assert not copy.exists()


def recorded_fault(name: str, content_type: str | None = None) -> Fault:
    """Return the fault of a recording, optionally under another Content-Type."""
    status, recorded_type, body = read(WIRE / f"{name}.http")
    with pytest.raises(Fault) as caught:
        parse_response(
            "GetBatchTaskInfosByNameAndState",
            body,
            version=ServiceVersion.V88,
            status=status,
            content_type=content_type or recorded_type,
        )
    return caught.value


@pytest.mark.parametrize(
    ("name", "code", "subcode", "reasons", "actor"),
    [
        pytest.param(
            "mono-basic11/list_faultcode",
            "Sender",
            None,
            {"en-US": "english reason", "nb-NO": "norsk grunn æøå"},
            None,
            id="two faultstrings",
        ),
        pytest.param(
            "jaxws11/list_faultcode", "Client", None, {"": "english reason"}, "urn:actor", id="actor, prefixed code"
        ),
        pytest.param(
            "node-soap/list_faultcode",
            "Sender",
            "BadArguments",
            {"": "Processing Error æøå"},
            None,
            id="a fault shaped like 1.2",
        ),
        pytest.param("jaxws11/list_fault", "Server", None, {"": "Lab fault <&> æøå"}, None, id="markup in the reason"),
    ],
)
@pytest.mark.parametrize("content_type", [None, "application/soap+xml; charset=utf-8"], ids=["as recorded", "soap+xml"])
def test_what_a_recorded_fault_says(  # noqa: PLR0917 - the columns of the table
    name: str, code: str, subcode: str | None, reasons: dict[str, str], actor: str | None, content_type: str | None
) -> None:
    """Code, subcode, reasons by language and actor are read, whatever the Content-Type claims."""
    fault = recorded_fault(name, content_type)
    assert (fault.code, fault.subcode, fault.reasons, fault.actor) == (code, subcode, reasons, actor)
    assert fault.reason == next(iter(reasons.values()))


def test_a_recorded_detail_is_an_exception_of_netserver() -> None:
    """A fault's detail that is NetServer's own exception is read in full, and its text is there as well."""
    fault = recorded_fault("mono-basic11/list_faultdetail")
    info = fault.exception_info
    assert info is not None
    assert (info.message, info.friendly_text, info.error_type, info.source) == (
        "detail message",
        "friendly",
        "Kind",
        "NetServer",
    )
    assert info.inner_exception is not None
    assert (info.inner_exception.message, info.inner_exception.friendly_text) == ("inner", "")
    assert info.parameters == {"host": "lab", "nil": None}
    assert fault.detail is not None
    assert fault.detail.startswith("detail message friendly Lab.Kind NetServer inner")
