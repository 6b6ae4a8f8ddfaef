"""One process-wide connection pool to Salesforce that carries nothing from one user to the next.

A `requests.Session`, because that is what simple-salesforce takes. One for each user or call would cost 18 ms CPU
(performance 3); a plain shared one would carry cookies, follow redirects, read proxies and netrc from the
environment and wait for ever (salesforce-contract 5).
"""

import ssl
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from io import BytesIO

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from shared.salesforce.replies import Reply, Unanswered
from shared.salesforce.wire import CONNECTION_POOLS, NotSent

BODY_MAX = 4 * 1024 * 1024
"""The longest answer that is read, in bytes after decoding."""

_CHUNK = 64 * 1024
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "FlowRunner"}


class NoAnswer(Exception):
    """A call that brought no answer; `why` says how far it came. It holds nothing of the call."""

    def __init__(self, why: Unanswered) -> None:
        super().__init__(why)
        self.why = why


Wait = tuple[float, float]
"""How long a call may take, in seconds: to connect (all addresses of the host, and TLS), and as a whole."""


class Pool(requests.Session):
    """The pool; thread-safe, since a call changes nothing of it. A token travels in its own request only.

    `ca_bundle` is a file of trusted authorities (empty: the library's own), `size` how many hosts, and how many
    connections to each, are kept. Every call needs a Wait as its `timeout`, and raises NoAnswer alone.
    """

    def __init__(self, ca_bundle: str = "", size: int = 128) -> None:
        super().__init__()
        self.trust_env = False  # neither proxies nor netrc nor a CA bundle of the environment
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers.clear()
        self.headers.update(_HEADERS)
        self.adapters.clear()
        adapter = _Adapter(_context(ca_bundle), size)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: an org answers itself, and a redirect would carry the call to a host that nobody proved."""

    def post_form(self, url: str, form: Mapping[str, str], timeout: Wait) -> Reply | Unanswered:
        """The answer to a form, sent once."""
        try:
            response = self.post(url, data=dict(form), timeout=timeout)
        except NoAnswer as none:
            return none.why
        except (requests.RequestException, ValueError):  # no request can be made of it
            return Unanswered.LOST
        return reply_of(response)


def reply_of(response: requests.Response) -> Reply:
    """The answer in our form; what is no UTF-8 in it is replaced."""
    body = response.content.decode("utf-8", "replace")
    return Reply(response.status_code, response.headers, body, str(response.request.path_url))


def _context(ca_bundle: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    context.load_verify_locations(cafile=ca_bundle or DEFAULT_CA_BUNDLE_PATH)
    return context


class _Adapter(HTTPAdapter):
    """Sends once, over our own connections and TLS context, and hands out answers that have come whole."""

    def __init__(self, context: ssl.SSLContext, size: int) -> None:
        self._context = context
        super().__init__(pool_connections=size, pool_maxsize=size, max_retries=0, pool_block=False)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: object) -> None:  # noqa: FBT001, FBT002  named by requests
        super().init_poolmanager(connections, maxsize, block=block, ssl_context=self._context, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = dict(CONNECTION_POOLS)

    def cert_verify(self, conn: object, url: object, verify: object, cert: object) -> None:
        """Nothing to do: the context demands certificates, and no argument of a call can change that."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002, FBT001, FBT002  named by requests
        timeout: object = None,
        verify: object = True,  # noqa: ARG002, FBT002
        cert: object = None,  # noqa: ARG002
        proxies: object = None,  # noqa: ARG002
    ) -> requests.Response:
        if not isinstance(timeout, tuple):
            raise TypeError("a call to Salesforce needs a Wait")
        connect_s, total_s = timeout
        limit = urllib3.Timeout(connect=connect_s, total=total_s)
        try:
            response = super().send(request, stream=True, timeout=limit, verify=True, cert=None, proxies=None)  # type: ignore[arg-type]  # the stubs know no Timeout
            body = _body(response)
        except NotSent:
            lost = Unanswered.NOT_SENT
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            lost = Unanswered.TIMED_OUT
        except Exception:  # noqa: BLE001  the libraries raise more than they say, and the call may have arrived
            lost = Unanswered.LOST
        else:
            if body is not None:
                response.raw = BytesIO(body)
                return response
            lost = Unanswered.TOO_LARGE
        # Raised out here, so that it drags no library's frames along, whose locals hold the token.
        raise NoAnswer(lost)


def _body(response: requests.Response) -> bytes | None:
    """The whole body; None, and the connection closed, when it is too long."""
    body = bytearray()
    with response:
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > BODY_MAX:
                return None
    return bytes(body)
