"""OpenAI's own client and the OpenAI Agents SDK against agents of the mesh.

Usage: chat_agents.py --base URL

The base is the router's, with /v1. Behind it are `assistant`, which knows arithmetic, and `desk`,
which asks for what is missing. One line of JSON per step: {"step", "ok", "detail"}; exit code 1 when
one went wrong. Every request and every reading of an answer is the library's own doing.
"""

import argparse
import asyncio
import json
import sys

import openai
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI, OpenAI

QUESTION = "what is 17*23+4"
ANSWER = "395"
WAITS = "TASK_STATE_INPUT_REQUIRED"
DONE = "TASK_STATE_COMPLETED"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--base", required=True)
base = parser.parse_args().base
settings = {"base_url": base, "api_key": "of no worth", "max_retries": 0, "timeout": 60}
client = OpenAI(**settings)
steps = []


def step(function):
    steps.append(function)
    return function


def user(text):
    return {"role": "user", "content": text}


def ask(agent, *messages, **more):
    return client.chat.completions.create(model=agent, messages=list(messages), **more)


@step
def models():
    names = [model.id for model in client.models.list()]
    assert names == ["assistant", "desk", "planner"], names
    one = client.models.retrieve("desk")
    assert one.id == "desk" and one.object == "model", one
    return ", ".join(names)


@step
def whole():
    completion = ask("assistant", user(QUESTION))
    choice = completion.choices[0]
    assert ANSWER in choice.message.content, completion
    assert choice.finish_reason == "stop" and choice.message.role == "assistant", completion
    assert completion.model == "assistant" and completion.a2a["state"] == DONE, completion
    return choice.message.content


@step
def stream():
    options = {"include_usage": True}
    chunks = list(ask("assistant", user(QUESTION), stream=True, stream_options=options))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert ANSWER in text, text
    assert chunks[-1].usage is not None and not chunks[-1].choices, chunks[-1]
    assert chunks[-2].choices[0].finish_reason == "stop", chunks[-2]
    assert len({chunk.id for chunk in chunks}) == 1, chunks
    return text


@step
def accumulated():
    """The library's own putting together of a stream."""
    with client.chat.completions.stream(model="assistant", messages=[user(QUESTION)]) as events:
        completion = events.get_final_completion()
    message = completion.choices[0].message
    assert ANSWER in message.content, message
    assert message.a2a["state"] == DONE and message.a2a["context_id"], message
    return message.content


@step
def follow_up():
    """The answer goes back as it came, and the agent's task goes on."""
    messages = [user("book a room for 4 people")]
    tasks = []
    for said in ("2026-12-01", "Ada Lovelace", None):
        message = ask("desk", *messages).choices[0].message
        tasks.append(message.a2a["task_id"])
        messages.append(message)
        if said is not None:
            assert message.a2a["state"] == WAITS, message
            messages.append(user(said))
    assert messages[-1].a2a["state"] == DONE and "Ada Lovelace" in messages[-1].content, messages
    assert len(set(tasks)) == 1, tasks
    return messages[-1].content


@step
def named_conversation():
    """The client names the conversation; the answer's head names it back."""
    raw = client.chat.completions.with_raw_response
    for number in range(2):
        named = {"a2a-context-id": "chat-of-mine"} if number == 0 else None
        field = {"a2a": {"context_id": "chat-of-mine"}} if number == 1 else None
        answer = raw.create(
            model="assistant", messages=[user(QUESTION)], extra_headers=named, extra_body=field
        )
        assert answer.headers["a2a-context-id"] == "chat-of-mine", answer.headers
        assert answer.headers["a2a-task-id"] == answer.parse().a2a["task_id"], answer.headers
    return "chat-of-mine"


@step
def history():
    """Turns that the agent was not there for are told to it."""
    old = [{"role": "system", "content": "Be brief."}, user("hi"), {"role": "assistant", "content": "hello"}]
    content = ask("assistant", *old, user(QUESTION)).choices[0].message.content
    assert ANSWER in content, content
    return content


@step
def refusals():
    told = []
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    for kind, param, more in [
        (openai.NotFoundError, "model", {"agent": "gpt-4"}),
        (openai.BadRequestError, "tools", {"agent": "desk", "tools": [tool]}),
        (openai.BadRequestError, "n", {"agent": "desk", "n": 2}),
    ]:
        try:
            ask(more.pop("agent"), user(QUESTION), **more)
        except kind as error:
            assert error.param == param and error.code and error.type, error.body
            told.append(error.code)
        else:
            raise AssertionError(f"{param} was taken")
    return ", ".join(told)


@step
def agents_sdk():
    set_tracing_disabled(True)

    async def run():
        async with AsyncOpenAI(**settings) as client:
            model = OpenAIChatCompletionsModel("assistant", openai_client=client)
            agent = Agent(name="A", instructions="Be brief.", model=model)
            first = await Runner.run(agent, QUESTION)
            assert ANSWER in first.final_output, first.final_output
            again = [*first.to_input_list(), user("what is 6*7")]
            second = await Runner.run(agent, again)
            assert "42" in second.final_output, second.final_output
            return second.final_output

    return asyncio.run(run())


@step
def agents_sdk_stream():
    async def run():
        async with AsyncOpenAI(**settings) as client:
            model = OpenAIChatCompletionsModel("assistant", openai_client=client)
            named = ModelSettings(extra_headers={"a2a-context-id": "of-the-agents-sdk"})
            agent = Agent(name="A", instructions="Be brief.", model=model, model_settings=named)
            result = Runner.run_streamed(agent, QUESTION)
            pieces = []
            async for event in result.stream_events():
                raw = event.data if event.type == "raw_response_event" else None
                if raw is not None and raw.type == "response.output_text.delta":
                    pieces.append(raw.delta)
            assert ANSWER in "".join(pieces) and ANSWER in result.final_output, pieces
            return "".join(pieces)

    return asyncio.run(run())


is_all_well = True
for one in steps:
    try:
        ok, detail = True, one()
    except Exception as error:  # whatever the library throws is the finding
        ok, detail = False, f"{type(error).__name__}: {error}"
    is_all_well &= ok
    print(json.dumps({"step": one.__name__, "ok": ok, "detail": detail}), flush=True)
sys.exit(not is_all_well)
