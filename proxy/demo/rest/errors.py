"""Errors of the endpoints, in OpenAI's and in Anthropic's form."""

import secrets
from typing import Any


class RestError(Exception):
    """What an endpoint refuses, and why.

    Attributes:
        status: of HTTP.
        kind: the error's ``type``.
        param: the field at fault, where OpenAI names one.
        code: OpenAI's word for the case.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.kind, self.param, self.code = message, status, kind, param, code

    def as_openai(self, request_id: str) -> dict[str, Any]:
        """For chat and responses; ``error_id`` is the request's id without its prefix."""
        error: dict[str, Any] = {"message": self.message, "type": self.kind}
        if self.param is not None or self.code is not None:
            error |= {"param": self.param, "code": self.code}
        return {"error": error | {"error_id": request_id.removeprefix("req_poe_")}}

    def as_anthropic(self, request_id: str) -> dict[str, Any]:
        """For messages."""
        return {"type": "error", "error": {"type": self.kind, "message": self.message}, "request_id": request_id}


def new_request_id() -> str:
    """An id as Poe gives it to each request."""
    return f"req_poe_{secrets.token_hex(16)}"


def unknown_model_of_openai(name: object) -> RestError:
    """Chat and responses know no such model."""
    message = f"The model `{name}` does not exist or you do not have access to it."
    return RestError(message, status=404)


def unknown_model_of_anthropic(name: object) -> RestError:
    """Messages knows no such model."""
    return RestError(f"model: {name}", status=404, kind="not_found_error")


def wrong_key_of_anthropic() -> RestError:
    """Messages does not know the key."""
    return RestError("Invalid API key", status=401, kind="authentication_error")


def not_of_anthropic() -> RestError:
    """Messages serves Claude alone, and Poe says no more than this."""
    return RestError("Internal server error", status=404, kind="api_error")


def missing(name: str) -> RestError:
    """OpenAI's words for a field that has to be there."""
    return RestError(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def unknown(name: str) -> RestError:
    """OpenAI's words for a field that it does not know."""
    return RestError(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
