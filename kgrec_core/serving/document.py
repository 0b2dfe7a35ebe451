"""The OpenAPI document of a service, written from the request types: what each endpoint takes, with the example of its command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kgrec_core

PROBLEM = {"description": "RFC 9457", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
CODES = ("400", "401", "403", "404", "408", "409", "413", "429", "503", "504")
EMBEDDINGS: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "additionalProperties": False,
    "properties": {
        "input": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
        "model": {"type": "string", "description": "the name of a run"},
        "encoding_format": {"enum": ["float"]},
    },
    "example": {"input": ["red kitchen clock"]},
}
NAMED: dict[str, Any] = {"type": "object", "properties": {"run": {"type": "string"}}, "additionalProperties": False}


def one_or_many(one: Mapping[str, Any]) -> dict[str, Any]:
    many = {
        "type": "object",
        "required": ["requests"],
        "additionalProperties": False,
        "properties": {"requests": {"type": "array", "items": dict(one)}},
    }
    return {"anyOf": [dict(one), many]}


def document(keys: bool) -> dict[str, Any]:
    problem = {
        "type": "object",
        "properties": {
            name: {"type": "integer" if name == "status" else "string"} for name in ("type", "title", "status", "detail", "request_id")
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kgrec",
            "version": kgrec_core.__version__,
            "description": "Times are UTC, scores are the run's own, probabilities lie in 0 to 1.",
        },
        "paths": {},
        "components": {"schemas": {"Problem": problem}, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        **({"security": [{"key": []}]} if keys else {}),
    }


def operation(summary: str, description: str = "", body: Mapping[str, Any] | None = None, tags: list[str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": summary, "tags": tags or []}
    if description:
        found["description"] = description
    if body is not None:
        example = body.get("example") or next((of["example"] for of in body.get("anyOf", ()) if "example" in of), {})
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(body), "example": example}}}
    found["responses"] = {"200": {"description": "the answer", "content": {"application/json": {}}}, **{code: PROBLEM for code in CODES}}
    return found
