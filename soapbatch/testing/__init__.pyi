from soapbatch.testing.clock import (
    ManualClock as ManualClock,
    VirtualTimeLoop as VirtualTimeLoop,
    run_virtual as run_virtual,
)
from soapbatch.testing.control import Control as Control, DrivenClock as DrivenClock
from soapbatch.testing.faults import (
    ConnectionDropped as ConnectionDropped,
    ServerException as ServerException,
    SessionRefused as SessionRefused,
)
from soapbatch.testing.interceptors import (
    Call as Call,
    Interceptor as Interceptor,
    Proceed as Proceed,
    answering as answering,
    cut_reply as cut_reply,
    delayed as delayed,
    failing as failing,
    lost_reply as lost_reply,
    lost_request as lost_request,
)
from soapbatch.testing.job_definitions import JobDefinition as JobDefinition
from soapbatch.testing.network import NetworkBlocked as NetworkBlocked, block_network as block_network
from soapbatch.testing.online import Online as Online
from soapbatch.testing.online_journal import Visit as Visit
from soapbatch.testing.online_keys import SigningKey as SigningKey, generate_private_key as generate_private_key
from soapbatch.testing.online_registry import OnlineTenant as OnlineTenant, RegisteredApp as RegisteredApp
from soapbatch.testing.recordings import (
    NotRecorded as NotRecorded,
    Recorder as Recorder,
    Replayer as Replayer,
)
from soapbatch.testing.requests import Personality as Personality
from soapbatch.testing.responses import Answer as Answer
from soapbatch.testing.server import NetServer as NetServer
from soapbatch.testing.serving import serve as serve, serve_in_thread as serve_in_thread
from soapbatch.testing.sessions import DEMO_USER as DEMO_USER, SessionStore as SessionStore, User as User
from soapbatch.testing.tasks import TaskStore as TaskStore
from soapbatch.transport import ForwardingTransport as ForwardingTransport
