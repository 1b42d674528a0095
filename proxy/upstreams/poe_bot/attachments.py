"""Files that go to Poe beside a message: as a caller sent them, and as Poe knows them once it has them. Pure."""

from typing import NamedTuple


class Attachment(NamedTuple):
    """A file that Poe has. Poe wants all three fields filled."""

    url: str
    content_type: str
    name: str


class EmbeddedFile(NamedTuple):
    """A file that came within the request.

    Attributes:
        data: base64 as the caller sent it, not looked at yet.
        param: the request's field it came in, to be named when something is wrong with it.
    """

    data: str
    content_type: str
    name: str
    param: str


class RemoteFile(NamedTuple):
    """A file that Poe is to fetch; the proxy never does.

    Attributes:
        url: http or https.
        param: the request's field it came in.
    """

    url: str
    name: str
    param: str


FileToAttach = Attachment | EmbeddedFile | RemoteFile
