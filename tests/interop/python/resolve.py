"""Resolves cards with the Python SDK, verifies them by a published key set, and calls what they name.

Usage: resolve.py MESH PATH...     (the mesh's base URL, and the paths below which cards are)

Prints one JSON object per path and binding: the path, the binding, the answer's words, and whether the task
was found again by its id. Fails where a card does not verify, or is not read by the SDK's types of 0.3.
"""

import asyncio
import json
import sys

import grpc
import httpx
from jwt import PyJWKSet

from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.compat.v0_3 import types as v03
from a2a.types import a2a_pb2
from a2a.utils.signing import create_signature_verifier

BINDINGS = ["JSONRPC", "HTTP+JSON", "GRPC"]


async def call(http: httpx.AsyncClient, card: a2a_pb2.AgentCard, binding: str) -> tuple[str, bool]:
    """What is answered to a sum over this binding, and whether its task is found again."""
    config = ClientConfig(
        httpx_client=http,
        streaming=False,
        supported_protocol_bindings=[binding],
        grpc_channel_factory=grpc.aio.insecure_channel,
    )
    client = ClientFactory(config).create(card)
    message = a2a_pb2.Message(
        message_id=f"m-{binding}",
        role=a2a_pb2.ROLE_USER,
        parts=[a2a_pb2.Part(text="what is 17*23+4")],
    )
    request = a2a_pb2.SendMessageRequest(message=message)
    task = [answer.task async for answer in client.send_message(request)][-1]
    again = await client.get_task(a2a_pb2.GetTaskRequest(id=task.id))
    words = "".join(part.text for artifact in task.artifacts for part in artifact.parts)
    return words, again.id == task.id


async def main() -> None:
    mesh, *paths = sys.argv[1:]
    async with httpx.AsyncClient() as http:
        published = (await http.get(f"{mesh}/.well-known/jwks.json")).json()
        keys = PyJWKSet.from_dict(published)
        verifier = create_signature_verifier(lambda kid, jku: keys[kid], ["ES256"])
        for path in paths:
            resolver = A2ACardResolver(http, f"{mesh}{path}")
            card = await resolver.get_agent_card(signature_verifier=verifier)
            raw = await http.get(f"{mesh}{path}/.well-known/agent-card.json")
            v03.AgentCard.model_validate(raw.json())
            for binding in BINDINGS:
                words, again = await call(http, card, binding)
                print(json.dumps({"path": path, "binding": binding, "words": words, "again": again}))


asyncio.run(main())
