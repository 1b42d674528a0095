"""Builds the Sanic application; every worker process calls ``create_app`` once."""

from pathlib import Path
from typing import Final

from sanic import Sanic

from proxy.server.admin import install_admin
from proxy.server.context import App
from proxy.server.errors import install_error_handlers
from proxy.server.headers import install_headers
from proxy.server.lifecycle import install_lifecycle
from proxy.server.limits import install_limits
from proxy.server.logs import configure_logs
from proxy.server.request_count import install_request_count
from proxy.server.routes import chat, completions, health, images, models, usage
from proxy.server.why import install_why
from proxy.settings import Settings

APP_NAME: Final = "poe-proxy"


def create_app(*_: object, settings: Settings, own_process: bool = False, metrics_dir: Path | None = None) -> App:
    """The application. Sanic's loader may pass positional arguments of its own; they mean nothing here.

    Args:
        settings: with a ``redis_url`` that names a server.
        own_process: whether this process does nothing else, so that it may be tuned for serving.
        metrics_dir: where the instance's workers keep what they count, None for this process alone.
    """
    configure_logs(settings)
    app = Sanic(APP_NAME, configure_logging=False)
    app.config.update(
        ACCESS_LOG=False,
        AUTO_EXTEND=False,
        FALLBACK_ERROR_FORMAT="json",
        REQUEST_MAX_SIZE=settings.max_body_bytes,
        # Every send resets it, and heartbeats see to it that something is sent; a whole answer may take this long.
        # A whole answer in JSON may have to be asked for twice.
        RESPONSE_TIMEOUT=2 * settings.upstream_total_s + settings.failover_budget_s + settings.heartbeat_s,
        KEEP_ALIVE_TIMEOUT=75,
        GRACEFUL_SHUTDOWN_TIMEOUT=settings.drain_timeout_s,
    )
    install_headers(app)
    install_why(app)
    install_request_count(app)
    install_limits(app)
    install_error_handlers(app)
    install_lifecycle(app, settings, own_process=own_process, metrics_dir=metrics_dir)
    blueprints = (chat, completions, images, models, usage, health)
    app.blueprint([module.blueprint for module in blueprints])
    install_admin(app, settings)
    return app
