"""Builds the Sanic application; every worker process calls ``create_app`` once."""

from typing import Final

from sanic import Sanic

from proxy.server.admin import install_admin
from proxy.server.admin.headers import add_admin_headers
from proxy.server.context import App
from proxy.server.http.errors import install_error_handlers
from proxy.server.http.headers import install_headers
from proxy.server.http.lease_trace import add_lease_trace
from proxy.server.http.rate_limit_headers import add_limits
from proxy.server.observability.logs import configure_logs
from proxy.server.observability.refusal_log import RefusalLog
from proxy.server.observability.request_count import count_request
from proxy.server.process.lifecycle import Lifecycle, install_lifecycle
from proxy.server.routes import chat, completions, health, images, messages, models, responses, usage
from proxy.settings import Settings

APP_NAME: Final = "poe-proxy"


def create_app(settings: Settings, lifecycle: Lifecycle | None = None) -> App:
    """The application.

    Args:
        settings: with a ``redis_url`` that names a server.
        lifecycle: of the process that serves it; by default one beside whatever else this process does.
    """
    configure_logs(settings)
    app = Sanic(APP_NAME, configure_logging=False)
    app.config.update(
        ACCESS_LOG=False,
        AUTO_EXTEND=False,
        FALLBACK_ERROR_FORMAT="json",
        # Of bodies that nobody asked for; handlers that take one bound it themselves (``intake.py``).
        REQUEST_MAX_SIZE=min(settings.max_body_bytes, 65_536),
        # What Sanic sends resets it, what is pushed past Sanic does not: no stream goes on for so long. A whole answer
        # may take this long, and heartbeats see to it that something is sent.
        # A whole answer in JSON may have to be asked for twice.
        RESPONSE_TIMEOUT=2 * settings.upstream_total_s + settings.failover_budget_s + settings.heartbeat_s,
        KEEP_ALIVE_TIMEOUT=75,
    )
    app.ctx.connections = set()  # that of the server, once there is one
    app.ctx.refusals = RefusalLog()
    about_admin = (add_admin_headers,) if settings.admin_tokens else ()
    install_headers(app, add_lease_trace, count_request, add_limits, *about_admin)
    install_error_handlers(app)
    install_lifecycle(app, lifecycle or Lifecycle(settings, own_process=False, files=None))
    blueprints = (chat, completions, images, messages, models, responses, usage, health)
    app.blueprint([module.blueprint for module in blueprints])
    install_admin(app, settings)
    return app
