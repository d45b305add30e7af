"""The agent of agent.py, in JSON-RPC and REST, as one replica that sends push notifications by the SDK's own
sender.

Usage: notifying.py NAME

Prints one line when its port is open: `ready http=PORT`.
"""

import asyncio
import socket
import sys

import httpx
import uvicorn
from starlette.applications import Starlette

from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import (
    create_agent_card_routes,
    create_jsonrpc_routes,
    create_rest_routes,
)
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
)
from a2a.types import a2a_pb2

from agent import Steward


def card(name: str, port: int) -> a2a_pb2.AgentCard:
    interface = lambda binding, path: a2a_pb2.AgentInterface(
        protocol_binding=binding, url=f"http://127.0.0.1:{port}{path}", protocol_version="1.0"
    )
    return a2a_pb2.AgentCard(
        name=name,
        description="Sums, waits and bookings, and word of how they go.",
        version="1.0.0",
        supported_interfaces=[interface("JSONRPC", "/rpc"), interface("HTTP+JSON", "/rest")],
        capabilities=a2a_pb2.AgentCapabilities(streaming=True, push_notifications=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[a2a_pb2.AgentSkill(id="s", name="Steward", description="See above.", tags=["sum"])],
    )


async def main() -> None:
    # Bound here and not by the server, so that the card knows the port before it is served.
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    served = card(sys.argv[1], port)
    configs = InMemoryPushNotificationConfigStore()
    requests = DefaultRequestHandler(
        agent_executor=Steward(),
        task_store=InMemoryTaskStore(),
        agent_card=served,
        push_config_store=configs,
        push_sender=BasePushNotificationSender(httpx.AsyncClient(), configs),
    )
    app = Starlette(
        routes=[
            *create_agent_card_routes(served),
            *create_jsonrpc_routes(requests, "/rpc"),
            *create_rest_routes(requests, path_prefix="/rest"),
        ]
    )
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    print(f"ready http={port}", flush=True)
    await serving


if __name__ == "__main__":
    asyncio.run(main())
