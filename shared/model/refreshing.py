"""How a refresh can fail: five classes, each of which means something else for the grant."""

from enum import StrEnum

from shared.model.connections import Reason


class FailureClass(StrEnum):
    """What a failed refresh says of the grant: a closed set."""

    TRANSIENT = "transient"
    """Salesforce has certainly not used the token: the same one may be sent again."""
    UNCERTAIN = "uncertain"
    """Nobody can tell whether Salesforce has used the token and rotated it."""
    GRANT_DEAD = "grant_dead"
    """The grant is over: only the user can make a new one."""
    OPERATOR = "operator"
    """Something of ours is wrong: credentials, address, request. It says nothing about the grant."""
    ORG_SETUP = "org_setup"
    """An admin of the org has to change something; the grant is probably good."""


class Again(StrEnum):
    """When the same call may be tried once more, under the same claim."""

    AT_ONCE = "at once"
    LATER = "later"


class RefreshFailed(Exception):
    """No fresh grant. It never reaches a client: `usecases/refresh_failures.py` makes a problem of it.

    `cause` is what to look at, `retry_after` is in seconds.
    """

    def __init__(
        self,
        kind: FailureClass,
        cause: Reason | None = None,
        *,
        retry_after: int | None = None,
        again: Again | None = None,
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.cause = cause
        self.retry_after = retry_after
        self.again = again

    @property
    def knows_us(self) -> bool:
        """Whether Salesforce says this only once it has taken our credentials, address and request."""
        told = self.kind in {FailureClass.GRANT_DEAD, FailureClass.ORG_SETUP}
        return told or self.again is Again.LATER or self.cause is Reason.LOGIN_LIMIT
