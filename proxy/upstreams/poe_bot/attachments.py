"""Files that go to Poe beside a message: as a caller sent them, and as Poe knows them once it has them. Pure."""

from typing import NamedTuple

from proxy.upstreams.poe.files import EmbeddedFile, RemoteFile


class Attachment(NamedTuple):
    """A file that Poe has. Poe wants all three fields filled."""

    url: str
    content_type: str
    name: str


FileToAttach = Attachment | EmbeddedFile | RemoteFile
