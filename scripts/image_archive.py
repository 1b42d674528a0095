"""What is in an image, read from a docker-archive, and what is wrong with it.

Knows what our image promises; knows nothing of how it was built or of running it.
"""

import gzip
import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast

from proxy.settings import SECRET_NAMES, Settings

USER_ID: Final = 10_001
#: Layers above the base, unpacked. 113 MB when this was written, a third of it vocabularies: a leap is a mistake.
MAX_OWN_BYTES: Final = 125_000_000

#: The files that layers of ours may hold.
_OURS: Final = re.compile(
    r"opt/venv/.+|app/LICENSE|app/proxy/.+"
    r"|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|etc/\.pwd\.lock"
    r"|usr/(local/)?lib/python3\.\d+/(.+/)?__pycache__/[^/]+\.pyc"
)
_BUILD_TOOLS: Final = re.compile(
    r"(.*/)?(bin/(pip[\d.]*|easy_install|gcc|g\+\+|cc|make|curl|wget|git|ld|strip|apt)"
    r"|site-packages/(pip|setuptools|wheel)(-[^/]*)?)(/.*)?"
)
_NOT_FOR_IMAGES: Final = re.compile(r"(.*/)?(\.git|\.env[^/]*|tests?|node_modules|\.[a-z]+_cache|id_[a-z0-9]+)(/.*)?")
_LABELS: Final = ("title", "description", "licenses", "source", "version", "revision", "created")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: the step that made it, its members, and its size as a tar and as that compressed."""

    made_by: str
    members: Mapping[str, tarfile.TarInfo]
    tar_bytes: int
    gzip_bytes: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image's configuration, and its layers from the lowest up: those of the base and our own."""

    config: Mapping[str, Any]
    base: tuple[Layer, ...]
    own: tuple[Layer, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (*self.base, *self.own)

    def member(self, path: str) -> tarfile.TarInfo | None:
        """What the topmost layer that has this path says of it."""
        return next((layer.members[path] for layer in reversed(self.layers) if path in layer.members), None)


def load_config(archive: Path) -> Mapping[str, Any]:
    """What the image says of how it is run."""
    with tarfile.open(archive) as whole:
        return cast("Mapping[str, Any]", _details(whole)["config"])


def load_image(archive: Path, base_layers: int) -> Image:
    """Reads all of it; takes some seconds, for the sizes."""
    with tarfile.open(archive) as whole:
        details = _details(whole)
        steps = [step.get("created_by", "") for step in details["history"] if not step.get("empty_layer")]
        names = _manifest(whole)["Layers"]
        layers = tuple(_load_layer(whole, name, step) for name, step in zip(names, steps, strict=True))
        return Image(details["config"], layers[:base_layers], layers[base_layers:])


def _manifest(whole: tarfile.TarFile) -> dict[str, Any]:
    manifest: dict[str, Any] = json.load(_open(whole, "manifest.json"))[0]
    return manifest


def _details(whole: tarfile.TarFile) -> dict[str, Any]:
    details: dict[str, Any] = json.load(_open(whole, _manifest(whole)["Config"]))
    return details


def _open(whole: tarfile.TarFile, name: str) -> IO[bytes]:
    """A member's bytes; buildah makes links of layers that it has written before."""
    stream = whole.extractfile(name)
    if stream is None:
        raise FileNotFoundError(name)
    return stream


def _load_layer(whole: tarfile.TarFile, name: str, made_by: str) -> Layer:
    with tarfile.open(fileobj=_open(whole, name)) as layer:
        members = {member.name.removeprefix("./"): member for member in layer}
    packed, tar_bytes = _Counted(), 0
    with _open(whole, name) as stream, gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=5) as squeezed:
        while piece := stream.read(1 << 20):
            tar_bytes += len(piece)
            squeezed.write(piece)
    return Layer(made_by, members, tar_bytes, packed.written)


class _Counted:
    """A file that only counts."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, piece: bytes) -> int:
        self.written += len(piece)
        return len(piece)

    def flush(self) -> None:
        return


def find_problems(image: Image, labels: Mapping[str, str]) -> Iterator[str]:
    """Says what is wrong, a sentence each; ``labels`` are the values that the build was given."""
    yield from _of_config(image.config)
    yield from _of_labels(image.config.get("Labels") or {}, labels)
    yield from _of_own_files(image.own)
    yield from _of_writable_paths(image)
    yield from _of_compiled_modules(image)
    if sum(layer.tar_bytes for layer in image.own) > MAX_OWN_BYTES:
        yield f"the layers above the base are larger than {MAX_OWN_BYTES:,} bytes"


def _of_config(config: Mapping[str, Any]) -> Iterator[str]:
    user = config.get("User") or "root"
    if user != f"{USER_ID}:{USER_ID}":
        yield f"USER is {user}, not {USER_ID}:{USER_ID}"
    command = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    if not command or command[0].endswith("sh"):
        yield f"CMD is not in exec form, so a signal would reach a shell: {command}"
    check = (config.get("Healthcheck") or {}).get("Test") or []
    if not check or check[0] != "CMD":
        yield f"HEALTHCHECK is missing or not in exec form: {check}"
    port = f"{Settings.model_fields['port'].default}/tcp"
    if list(config.get("ExposedPorts") or {}) != [port]:
        yield f"EXPOSE is not {port}, the default of PORT: {list(config.get('ExposedPorts') or {})}"
    if config.get("StopSignal") != "SIGTERM":
        yield f"STOPSIGNAL is not SIGTERM: {config.get('StopSignal')}"
    if list(config.get("Volumes") or {}) != ["/data"]:
        yield f"VOLUME is not /data: {list(config.get('Volumes') or {})}"
    variables = {variable.partition("=")[0] for variable in config.get("Env") or []}
    for name in sorted(variables & {*SECRET_NAMES, *(f"{secret}_FILE" for secret in SECRET_NAMES)}):
        yield f"ENV sets {name}, a secret"


def _of_labels(found: Mapping[str, str], given: Mapping[str, str]) -> Iterator[str]:
    for name in _LABELS:
        value = found.get(f"org.opencontainers.image.{name}", "")
        if not value:
            yield f"the label org.opencontainers.image.{name} is missing or empty"
        elif name in given and value != given[name]:
            yield f"the label org.opencontainers.image.{name} is {value}, not {given[name]} as the build was told"


def _of_own_files(own: Iterable[Layer]) -> Iterator[str]:
    """Every layer of ours on its own: what a later one removes is in the image all the same."""
    for layer in own:
        rules: list[tuple[str, Callable[[str, tarfile.TarInfo], bool]]] = [
            ("has build tools", lambda path, _: bool(_BUILD_TOOLS.fullmatch(path))),
            ("has what is not for an image", lambda path, _: bool(_NOT_FOR_IMAGES.fullmatch(path))),
            ("has unexpected files", lambda path, member: not (member.isdir() or _OURS.fullmatch(path))),
            ("has files not owned by root", lambda path, member: path != "data" and (member.uid, member.gid) != (0, 0)),
            ("has setuid files", lambda _, member: not member.issym() and bool(member.mode & 0o6000)),
            ("has files that others cannot read", lambda path, member: path != "data" and _is_hidden(path, member)),
        ]
        for words, breaks in rules:
            paths = [path for path, member in layer.members.items() if breaks(path, member)]
            if paths:
                yield f"a layer {words}: {_few(paths)} ({_shorten(layer.made_by)})"


def _is_hidden(path: str, member: tarfile.TarInfo) -> bool:
    return path.startswith(("opt/", "app/")) and not member.issym() and not member.mode & 0o004


def _of_writable_paths(image: Image) -> Iterator[str]:
    data = image.member("data")
    if data is None or not data.isdir():
        yield "there is no /data"
    elif (data.uid, data.gid, data.mode & 0o777) != (USER_ID, USER_ID, 0o700):
        yield f"/data is {data.mode & 0o777:o} {data.uid}:{data.gid}, not 700 {USER_ID}:{USER_ID}"
    paths = {path for layer in image.layers for path in layer.members} - {"data"}
    writable = [path for path in sorted(paths) if _may_write(image.member(path))]
    if writable:
        yield f"the user may write to {_few(writable)}"


def _may_write(member: tarfile.TarInfo | None) -> bool:
    """Sticky directories such as /tmp are meant for everyone."""
    if member is None or member.issym() or (member.isdir() and member.mode & 0o1000):
        return False
    return bool(
        member.mode & 0o002
        or (member.uid == USER_ID and member.mode & 0o200)
        or (member.gid == USER_ID and member.mode & 0o020)
    )


def _of_compiled_modules(image: Image) -> Iterator[str]:
    paths = {path for layer in image.own for path in layer.members}
    compiled = {_source_of(path) for path in paths if path.endswith(".pyc")}
    sources = {path for path in paths if path.startswith(("opt/venv/lib/", "app/")) and path.endswith(".py")}
    if not sources:
        yield "there are no Python modules"
    if missing := sorted(sources - compiled):
        yield f"modules are not compiled: {_few(missing)}"
    everything = {path for layer in image.layers for path in layer.members}
    if not any(
        re.fullmatch(r"usr/.*lib/python3\.\d+/http/__pycache__/client\.[^/]+\.pyc", path) for path in everything
    ):
        yield "the standard library is not compiled"


def _source_of(compiled: str) -> str:
    path = PurePosixPath(compiled)
    return str(path.parent.parent / f"{path.name.partition('.')[0]}.py")


def _few(paths: list[str]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(f"/{path}" for path in paths[:3]) + more


def _shorten(step: str) -> str:
    words = " ".join(step.removeprefix("/bin/sh -c ").removeprefix("#(nop) ").split())
    return words if len(words) <= 60 else f"{words[:57]}..."


def describe_sizes(image: Image) -> Iterator[str]:
    """Lines to print: each layer of ours, their sum, and the largest parts."""
    below, above = (sum(layer.tar_bytes for layer in layers) for layers in (image.base, image.own))
    packed = sum(layer.gzip_bytes for layer in image.own)
    yield f"{_mb(above)} MB above the base's {_mb(below).strip()} MB; {_mb(packed).strip()} MB to download"
    for layer in image.own:
        yield f"{_mb(layer.tar_bytes)} MB   {_shorten(layer.made_by)}"
    parts: Counter[str] = Counter()
    for layer in image.own:
        for path, member in layer.members.items():
            parts[_part(path)] += member.size
    for part, part_bytes in parts.most_common(12):
        yield f"{_mb(part_bytes)} MB     {part}"


def _part(path: str) -> str:
    pieces = path.split("/")
    if "site-packages" in pieces:
        return "/".join(pieces[pieces.index("site-packages") :][:2])
    return "the standard library, compiled" if path.startswith("usr/") else "/" + "/".join(pieces[:2])


def _mb(amount_bytes: int) -> str:
    return f"{amount_bytes / 1e6:6.1f}"
