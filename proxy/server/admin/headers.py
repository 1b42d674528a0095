"""The headers of everything under ``/admin``: no other page may read, frame or feed it."""

from typing import Final

from sanic import Request
from sanic.response import BaseHTTPResponse

_CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def is_admin(request: Request) -> bool:
    """Whether this is about ``/admin``, so that CORS is not for it."""
    return request.path == "/admin" or request.path.startswith("/admin/")


def add_admin_headers(request: Request, response: BaseHTTPResponse) -> None:
    """Adds them."""
    if is_admin(request):
        response.headers.update(_HEADERS)
        if "cache-control" not in response.headers:
            response.headers["cache-control"] = "no-store"
