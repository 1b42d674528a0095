"""``docs/admin-openapi.yaml``, and a check of every answer against it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import yaml  # type: ignore[import-untyped]  # PyYAML comes with yamllint; its types are not worth a requirement
from jsonschema import Draft202012Validator

PAGE: Final[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[2] / "docs" / "admin-openapi.yaml").read_text(encoding="utf-8")
)
PREFIX: Final = PAGE["servers"][0]["url"]
_METHODS: Final = ("get", "post", "patch", "delete")


def operations() -> Iterator[tuple[str, str]]:
    """(method, path with ``{names}``) of all that the page describes."""
    for path, item in PAGE["paths"].items():
        yield from ((method.upper(), PREFIX + path) for method in _METHODS if method in item)


def example(path: str) -> str:
    """The path with something that fits in each place."""
    return path.replace("{key_id}", "0123456789ab").replace("{client_id}", "abcdefgh")


def check(schema: dict[str, Any], value: object) -> None:
    """Fails the test when ``value`` is not as ``schema`` says."""
    whole = {**schema, "components": PAGE["components"]}
    problems = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(value)]
    assert problems == []


async def check_response(response: httpx.Response) -> None:
    """Fails the test when an answer under ``/admin/api`` is not one that the page describes; a hook for httpx.

    Any URL may answer with an error, also one that its part of the page does not list: 401, 429, 503.
    """
    path = response.request.url.path
    if not path.startswith(PREFIX + "/"):
        return
    if response.status_code >= 400:
        await response.aread()
        check(PAGE["components"]["schemas"]["Error"], response.json())
        return
    described = _operation(response.request.method, path)["responses"][str(response.status_code)]
    described = _resolved(described)
    content = described.get("content", {})
    if "application/json" in content:
        await response.aread()
        assert response.headers["content-type"] == "application/json"
        check(content["application/json"]["schema"], json.loads(response.content))


def _operation(method: str, path: str) -> dict[str, Any]:
    for pattern, item in PAGE["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", PREFIX + pattern), path) and method.lower() in item:
            operation: dict[str, Any] = item[method.lower()]
            return operation
    raise AssertionError(f"{method} {path} is not in docs/admin-openapi.yaml")


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        target: dict[str, Any] = PAGE
        for step in part["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        part = target
    return part
