"""``/admin``: a page for operators, and the JSON it works with (``docs/admin-openapi.yaml``).

Without ``ADMIN_TOKENS`` none of it exists. The page itself tells nothing and needs no token; every route under
``/admin/api`` does.
"""

from sanic import Blueprint

from proxy.server.admin import clients, events, keys, live, page, usage
from proxy.server.context import App
from proxy.settings import Settings


def install_admin(app: App, settings: Settings) -> None:
    """Adds the page and its routes, if there is anybody who may use them."""
    if not settings.admin_tokens:
        return
    groups = (page.blueprint, keys.blueprint, clients.blueprint, usage.blueprint, events.blueprint, live.blueprint)
    app.blueprint(Blueprint.group(*groups, url_prefix="/admin"))
