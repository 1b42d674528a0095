"""Reading the settings again while the server runs, at SIGHUP: keys and tokens that come from files may be new ones."""

import logging

from proxy.settings import Settings, SettingsError, load_settings

_log = logging.getLogger(__name__)


def reload_settings(present: Settings) -> Settings | None:
    """The settings as they are now, or None, after saying why, when they cannot be used.

    A Valkey of the server's own goes on, so its URL stays.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        for problem in error.problems:
            _log.error("SIGHUP: nothing changes, the configuration cannot be used: %s", problem)
        return None
    _log.info("SIGHUP: the settings were read again")
    if settings.redis_url == "embedded":
        return settings.model_copy(update={"redis_url": present.redis_url})
    return settings
