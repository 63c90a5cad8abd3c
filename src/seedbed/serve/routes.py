"""The small routes: models, embeddings, the tokenizer, health and metrics."""

from __future__ import annotations

import base64
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.responses import JSONResponse, PlainTextResponse, Response

from seedbed.chat.rendering import PromptEncoder
from seedbed.core.artifacts import Artifact
from seedbed.serve.bodies import DetokenizeRequest, EmbeddingRequest, TokenizeRequest
from seedbed.serve.completions import encode_prompts
from seedbed.serve.context import Here, provenance
from seedbed.serve.errors import refuse
from seedbed.serve.from_wire import messages_of
from seedbed.serve.json_body import JsonRoute
from seedbed.serve.pool import Served, ServedEncoder

router = APIRouter(route_class=JsonRoute)


@router.get("/health")
async def health(context: Here) -> Response:
    """Report whether the server takes requests."""
    status = "draining" if context.server.draining else "ok"
    body = {"status": status, "instance": context.server.instance, "in_flight": context.server.in_flight - 1}
    return JSONResponse(body, 503 if context.server.draining else 200)


@router.get("/metrics")
async def metrics(context: Here) -> Response:
    """Counters for Prometheus: a key's own, and for an admin key those of all, with the engines' state."""
    server = context.server
    all_ = server.keys is None or server.keys.is_admin(context.owner)
    if all_:
        text = server.metrics.text(server.in_flight, server.pool.stats())
    else:
        text = context.metrics.text(sum(one.owner == context.owner for one in server.open_requests))
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


@router.get("/v1/models")
async def list_models(context: Here) -> Response:
    """The models that may be used."""
    pool = context.server.pool
    found = await context.look_up(pool.models)
    data = [_model(name, artifact, pool.parent(name)) for name, artifact in found.items()]
    return JSONResponse({"object": "list", "data": data})


@router.get("/v1/models/{name}")
async def get_model(name: str, context: Here) -> Response:
    """One model."""
    pool = context.server.pool
    return JSONResponse(_model(name, await context.look_up(pool.find, name), pool.parent(name)))


@router.get("/v1/collections")
async def list_collections(context: Here) -> Response:
    """The collections of documents that a chat completion may be asked from."""
    found = await context.look_up(context.server.collections.list)
    return JSONResponse({"object": "list", "data": found})


def _model(name: str, artifact: Artifact, parent: str | None) -> dict[str, Any]:
    created = int(datetime.fromisoformat(artifact.manifest.created).timestamp())
    own = {"id": name, "object": "model", "created": created, "owned_by": "seedbed", "artifact": artifact.id}
    return own | ({"parent": parent} if parent else {})


@router.post("/v1/embeddings")
async def embeddings(body: EmbeddingRequest, context: Here) -> Response:
    """A text's vector, of length 1: an encoder's own, or the mean of a decoder's last hidden states."""
    served = await context.any_model(body.model)
    if body.dimensions not in (None, served.size):
        raise refuse("dimensions", why=f"the model has {served.size}", fix="leave it out", param="dimensions")
    prompts = await encode_prompts(context, served.encode, body.input)
    data = []
    for index, prompt in enumerate(prompts):
        found = await context.work(served.embed, prompt, context.owner)
        found /= max(float(np.linalg.norm(found)), 1e-12)
        coded = base64.b64encode(found.astype("<f4").tobytes()).decode()
        embedding = coded if body.encoding_format == "base64" else found.tolist()
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    read = sum(map(len, prompts))
    context.metrics.add("prompt_tokens", read)
    used = {"prompt_tokens": read, "total_tokens": read}
    table = {"object": "list", "data": data, "model": body.model, "usage": used}
    return JSONResponse(table, headers=provenance(served))


@router.post("/tokenize")
async def tokenize(body: TokenizeRequest, context: Here) -> Response:
    """The ids of a prompt or a conversation."""
    if (body.prompt is None) == (body.messages is None):
        raise refuse("prompt or messages", why="one of them is tokenized", fix="give one", param="prompt")
    served = await context.any_model(body.model)
    tokenizer = served.tokenizer
    if body.messages is not None:
        context.check_length(*(one.text for one in messages_of(body.messages)))
        messages, prompts = messages_of(body.messages), _encoder(served, body)
        encode = partial(prompts.encode, messages, add_generation_prompt=body.add_generation_prompt)
        ids = await context.work(encode)
    else:
        context.check_length(body.prompt or "")
        ids = await context.work(served.encode, body.prompt or "", around=body.add_special_tokens)
    strings = {"token_strs": await context.work(tokenizer.pieces, ids)} if body.return_token_strs else {}
    found = {"tokens": ids, "count": len(ids), "max_model_len": served.window, **strings}
    return await context.work(JSONResponse, found)  # of a long text it takes a while


def _encoder(served: Served | ServedEncoder, body: TokenizeRequest) -> PromptEncoder:
    return PromptEncoder(served.tokenizer, served.window, variables=body.chat_template_kwargs)


@router.post("/detokenize")
async def detokenize(body: DetokenizeRequest, context: Here) -> Response:
    """The text of ids."""
    served = await context.any_model(body.model)
    return JSONResponse({"prompt": await context.work(served.tokenizer.decode, body.tokens)})
