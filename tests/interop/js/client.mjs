// An official SDK as a client: JavaScript. The same command line and output as the Python and Go
// ones.
//
// Usage: client.mjs --url BASE --binding jsonrpc|rest|grpc [--question TEXT --expect TEXT]
//          [--brief TEXT] [--slow TEXT] [--ask TEXT --answer TEXT --answered TEXT]
//          [--brief-url BASE] [--slow-url BASE]
//
// The brief and the slow task may be other agents' than the rest.
//
// Prints one JSON line a step: {"step": ..., "ok": true|false, "detail": ...}; exits 1 if a step
// failed. Every step goes through the SDK: its card resolver, its transports, its types and errors.

import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";

import {
  CancelTaskRequest,
  GetTaskRequest,
  ListTasksRequest,
  SendMessageRequest,
  SubscribeToTaskRequest,
  TaskState,
} from "@a2a-js/sdk";
import {
  ClientFactory,
  DefaultAgentCardResolver,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from "@a2a-js/sdk/client";
import { GrpcTransportFactory } from "@a2a-js/sdk/client/grpc";
import { TaskNotFoundError } from "@a2a-js/sdk/errors";

const BINDINGS = { jsonrpc: "JSONRPC", rest: "HTTP+JSON", grpc: "GRPC" };
const TERMINAL = ["COMPLETED", "FAILED", "CANCELED", "REJECTED"];
const DEADLINE = 60_000;

const { values: args } = parseArgs({
  options: {
    url: { type: "string" },
    binding: { type: "string", default: "jsonrpc" },
    question: { type: "string", default: "what is 17*23+4" },
    expect: { type: "string", default: "395" },
    brief: { type: "string", default: "wait 2 seconds" },
    slow: { type: "string", default: "wait 60 seconds" },
    "brief-url": { type: "string" },
    "slow-url": { type: "string" },
    ask: { type: "string", default: "book a table" },
    answer: { type: "string", default: "4 people" },
    answered: { type: "string", default: "4" },
  },
});

function check(condition, what) {
  if (!condition) throw new Error(typeof what === "string" ? what : JSON.stringify(what));
}

const state = (value) => TaskState[value].replace("TASK_STATE_", "");
const text = (artifact) =>
  artifact.parts.map((part) => (part.content?.$case === "text" ? part.content.value : "")).join("");
const said = (task) => task.artifacts.map(text).join(" ");

function request(words, { task, atOnce = false } = {}) {
  return SendMessageRequest.fromJSON({
    message: {
      messageId: randomUUID(),
      role: "ROLE_USER",
      parts: [{ text: words }],
      taskId: task?.id,
      contextId: task?.contextId,
    },
    configuration: { returnImmediately: atOnce },
  });
}

let client;
/** The task that the question made. */
let made;

async function card() {
  const [whole, connected] = await connect(args.url);
  client = connected;
  return `${whole.name}: ${whole.supportedInterfaces.map((one) => one.protocolBinding)}`;
}

/** The card of an agent, and a client of it. */
async function connect(url) {
  // The resolver resolves a relative path against the base, so the base must end in a slash.
  const resolver = new DefaultAgentCardResolver();
  const whole = await resolver.resolve(url.replace(/\/*$/, "/"));
  const offered = whole.supportedInterfaces.map((one) => one.protocolBinding);
  const wanted = BINDINGS[args.binding];
  check(offered.includes(wanted), `${wanted} is not among ${offered}`);
  const factory = new ClientFactory({
    transports: [
      new JsonRpcTransportFactory(),
      new RestTransportFactory(),
      new GrpcTransportFactory(),
    ],
    preferredTransports: [wanted],
  });
  const made = await factory.createFromAgentCard(whole);
  check(made.transport.protocolName === wanted, `chose ${made.transport.protocolName}`);
  return [whole, made];
}

/** Sends without a stream and takes the one answer, which must be a task. */
async function one(message, by = client) {
  const task = await by.sendMessage(message);
  check(task.status !== undefined, task);
  return task;
}

async function send() {
  made = await one(request(args.question));
  check(state(made.status.state) === "COMPLETED", state(made.status.state));
  check(said(made).includes(args.expect), said(made));
  return said(made);
}

async function stream() {
  const seen = [];
  let words = "";
  for await (const { payload } of client.sendMessageStream(request(args.question))) {
    if (payload.$case === "artifactUpdate") {
      seen.push("artifact");
      words += text(payload.value.artifact);
    } else if (payload.$case !== "message") {
      seen.push(state(payload.value.status.state));
    }
  }
  const [working, artifact, completed] = ["WORKING", "artifact", "COMPLETED"].map((step) =>
    seen.indexOf(step),
  );
  check(0 <= working && working < artifact && artifact < completed, seen);
  check(completed === seen.length - 1, seen);
  check(words.includes(args.expect), words);
  return seen.join(" ");
}

async function get() {
  const task = await client.getTask(GetTaskRequest.fromJSON({ id: made.id }));
  check(task.id === made.id && task.contextId === made.contextId, task);
  check(said(task).includes(args.expect), said(task));
  return task.id;
}

async function list() {
  const asked = ListTasksRequest.fromJSON({ contextId: made.contextId, pageSize: 50 });
  const { tasks } = await client.listTasks(asked);
  check(tasks.some((task) => task.id === made.id), `${tasks.length} tasks, not among them ${made.id}`);
  return `${tasks.length} in the context`;
}

/** Starts a task and comes back while it is not at its end. */
async function running(words, by) {
  const task = await one(request(words, { atOnce: true }), by);
  check(!TERMINAL.includes(state(task.status.state)), `already ${state(task.status.state)}`);
  return task;
}

async function cancel() {
  const [, by] = await connect(args["slow-url"] ?? args.url);
  const task = await running(args.slow, by);
  const canceled = await by.cancelTask(CancelTaskRequest.fromJSON({ id: task.id }));
  check(state(canceled.status.state) === "CANCELED", state(canceled.status.state));
  return `${state(task.status.state)} -> CANCELED`;
}

async function subscribe() {
  const [, by] = await connect(args["brief-url"] ?? args.url);
  const task = await running(args.brief, by);
  const seen = [];
  const asked = SubscribeToTaskRequest.fromJSON({ id: task.id });
  for await (const { payload } of by.resubscribeTask(asked)) {
    if (seen.length === 0) check(payload.$case === "task", `first came ${payload.$case}`);
    seen.push(payload.$case);
    if (payload.$case === "statusUpdate" && TERMINAL.includes(state(payload.value.status.state))) {
      seen.push(state(payload.value.status.state));
    }
  }
  check(seen.at(-1) === "COMPLETED", seen);
  return seen.join(" ");
}

async function multiTurn() {
  const asked = await one(request(args.ask));
  check(state(asked.status.state) === "INPUT_REQUIRED", state(asked.status.state));
  const done = await one(request(args.answer, { task: asked }));
  check(done.id === asked.id, `${done.id} is another task than ${asked.id}`);
  check(state(done.status.state) === "COMPLETED", state(done.status.state));
  check(said(done).includes(args.answered), said(done));
  return said(done);
}

async function unknownTask() {
  try {
    await client.getTask(GetTaskRequest.fromJSON({ id: randomUUID() }));
  } catch (error) {
    check(error instanceof TaskNotFoundError, `${error.name}: ${error.message}`);
    return `${error.name}: ${error.message}`;
  }
  throw new Error("an unknown task came back");
}

const late = (name) =>
  new Promise((_, fail) =>
    setTimeout(() => fail(new Error(`${name} took over ${DEADLINE} ms`)), DEADLINE).unref(),
  );

let failed = false;
for (const [name, step] of [
  ["card", card],
  ["send", send],
  ["stream", stream],
  ["get", get],
  ["list", list],
  ["cancel", cancel],
  ["subscribe", subscribe],
  ["multi-turn", multiTurn],
  ["unknown-task", unknownTask],
]) {
  let ok = true;
  let detail;
  try {
    detail = await Promise.race([step(), late(name)]);
  } catch (error) {
    ok = false;
    failed = true;
    detail = `${error.name}: ${error.message}`;
  }
  console.log(JSON.stringify({ step: name, ok, detail }));
}
process.exit(failed ? 1 : 0);
