// An official SDK as a client: JavaScript. The same command line and output as the other clients; see
// ../python/client.py.
//
// Every step goes through the SDK: its card resolver, its transports, its types and errors.

import { randomUUID } from "node:crypto";
import { isDeepStrictEqual, parseArgs } from "node:util";

import {
  CancelTaskRequest,
  GetTaskRequest,
  ListTasksRequest,
  Part,
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
    cell: { type: "string", multiple: true },
    question: { type: "string", default: "what is 17*23+4" },
    expect: { type: "string", default: "395" },
    brief: { type: "string", default: "wait 2 seconds" },
    slow: { type: "string", default: "wait 60 seconds" },
    ask: { type: "string", default: "book a table" },
    answer: { type: "string", default: "4 people" },
    answered: { type: "string", default: "4" },
    parts: { type: "string", default: "return these" },
    fail: { type: "string", default: "fail now" },
  },
});

/** What a part of data holds, and a file: every byte, so that no encoding passes by chance. */
const DATA = { n: 17, half: 0.5, deep: [true, null, { k: "\u00e9" }], empty: {} };
const RAW = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

/** A step that this version or this agent does not have. */
class LeftOut extends Error {}

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

/** The steps of one cell; `made` is the task that the question made. */
class Scenario {
  constructor(cell) {
    this.cell = cell;
  }

  async card() {
    const [whole, connected] = await this.connect("url");
    this.client = connected;
    return `${whole.name}: ${whole.supportedInterfaces.map(offered)}`;
  }

  /** The card of an agent, and a client of it. */
  async connect(which) {
    const url = this.cell[which] ?? this.cell.url;
    const legacyCompat = { enabled: true };
    // The resolver resolves a relative path against the base, so the base must end in a slash.
    const resolver = new DefaultAgentCardResolver({ legacyCompat });
    const whole = await resolver.resolve(url.replace(/\/*$/, "/"));
    const wanted = `${BINDINGS[this.cell.binding]}/${this.cell.version}`;
    const supportedInterfaces = whole.supportedInterfaces.filter((one) => offered(one) === wanted);
    check(supportedInterfaces.length > 0, `${wanted} is not among ${whole.supportedInterfaces.map(offered)}`);
    const factory = new ClientFactory({
      transports: [
        new JsonRpcTransportFactory({ legacyCompat }),
        new RestTransportFactory({ legacyCompat }),
        new GrpcTransportFactory({ legacyCompat }),
      ],
    });
    return [whole, await factory.createFromAgentCard({ ...whole, supportedInterfaces })];
  }

  async send() {
    this.made = await one(this.client, request(args.question));
    check(state(this.made.status.state) === "COMPLETED", state(this.made.status.state));
    check(said(this.made).includes(args.expect), said(this.made));
    return said(this.made);
  }

  async stream() {
    const seen = [];
    let words = "";
    for await (const { payload } of this.client.sendMessageStream(request(args.question))) {
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

  async get() {
    const task = await this.client.getTask(GetTaskRequest.fromJSON({ id: this.made.id }));
    check(task.id === this.made.id && task.contextId === this.made.contextId, task);
    check(said(task).includes(args.expect), said(task));
    return task.id;
  }

  async list() {
    if (this.cell.version === "0.3") throw new LeftOut("0.3 has no ListTasks");
    const asked = ListTasksRequest.fromJSON({ contextId: this.made.contextId, pageSize: 50 });
    const { tasks } = await this.client.listTasks(asked);
    check(tasks.some((task) => task.id === this.made.id), `${tasks.length} tasks, not among them ${this.made.id}`);
    return `${tasks.length} in the context`;
  }

  /** Starts a task and comes back while it is not at its end. */
  async running(words, by) {
    const task = await one(by, request(words, { atOnce: true }));
    check(!TERMINAL.includes(state(task.status.state)), `already ${state(task.status.state)}`);
    return task;
  }

  async cancel() {
    const [, by] = await this.connect("slow_url");
    const task = await this.running(args.slow, by);
    const canceled = await by.cancelTask(CancelTaskRequest.fromJSON({ id: task.id }));
    check(state(canceled.status.state) === "CANCELED", state(canceled.status.state));
    return `${state(task.status.state)} -> CANCELED`;
  }

  async subscribe() {
    const [, by] = await this.connect("brief_url");
    const task = await this.running(args.brief, by);
    const seen = [];
    const asked = SubscribeToTaskRequest.fromJSON({ id: task.id });
    for await (const { payload } of by.resubscribeTask(asked)) {
      // 0.3 does not promise the task as the first event.
      const promised = seen.length === 0 && this.cell.version !== "0.3" && this.cell.snapshot !== false;
      if (promised) check(payload.$case === "task", `first came ${payload.$case}`);
      seen.push(payload.$case);
      if (payload.$case === "statusUpdate" && TERMINAL.includes(state(payload.value.status.state))) {
        seen.push(state(payload.value.status.state));
      }
    }
    check(seen.at(-1) === "COMPLETED", seen);
    return seen.join(" ");
  }

  async multiTurn() {
    const asked = await one(this.client, request(args.ask));
    check(state(asked.status.state) === "INPUT_REQUIRED", state(asked.status.state));
    const done = await one(this.client, request(args.answer, { task: asked }));
    check(done.id === asked.id, `${done.id} is another task than ${asked.id}`);
    check(state(done.status.state) === "COMPLETED", state(done.status.state));
    check(said(done).includes(args.answered), said(done));
    return said(done);
  }

  /** Every kind of part there and back, through whatever translates between. */
  async parts() {
    if (!args.parts) throw new LeftOut("this agent does not return parts");
    const sent = [
      { text: 'd\u00e9j\u00e0 vu \u{1f5ff} "quoted"\n' },
      { data: DATA },
      { raw: RAW.toString("base64"), filename: "all bytes.bin", mediaType: "application/octet-stream" },
      { url: "https://files.example/a%20b?c=d", filename: "a b", mediaType: "image/png" },
    ];
    const asked = request(args.parts);
    asked.message.parts.push(...sent.map(Part.fromJSON));
    const back = (await one(this.client, asked)).artifacts.flatMap((artifact) => artifact.parts);
    check(back.length === sent.length, `${back.length} parts came back`);
    for (const [at, part] of back.map(Part.toJSON).entries()) {
      const kind = Object.keys(sent[at])[0];
      check(isDeepStrictEqual(part[kind], sent[at][kind]), `${kind} is now ${JSON.stringify(part)}`);
      if (at < 2) continue;
      check(part.filename === sent[at].filename, `the file is named ${part.filename}`);
      check(part.mediaType === sent[at].mediaType, `the file is ${part.mediaType}`);
    }
    return "text data raw url";
  }

  async fail() {
    if (!args.fail) throw new LeftOut("this agent does not fail");
    const [, by] = await this.connect("fail_url");
    const task = await one(by, request(args.fail));
    check(state(task.status.state) === "FAILED", state(task.status.state));
    return state(task.status.state);
  }

  async unknownTask() {
    try {
      await this.client.getTask(GetTaskRequest.fromJSON({ id: randomUUID() }));
    } catch (error) {
      // Over gRPC of 0.3 the SDK has no class for an error that the agent names in its message.
      const old = this.cell.version === "0.3" && this.cell.binding === "grpc";
      const named = old && /: 5 TaskNotFoundError/.test(error.message);
      check(named || error instanceof TaskNotFoundError, `${error.name}: ${error.message}`);
      return `${error.name}: ${error.message}`;
    }
    throw new Error("an unknown task came back");
  }
}

/** Binding and version of an interface, without the patch number. */
function offered(one) {
  return `${one.protocolBinding}/${one.protocolVersion.split(".").slice(0, 2).join(".")}`;
}

/** Sends without a stream and takes the one answer, which must be a task. */
async function one(by, message) {
  const task = await by.sendMessage(message);
  check(task.status !== undefined, task);
  return task;
}

const late = (name) =>
  new Promise((_, fail) =>
    setTimeout(() => fail(new Error(`${name} took over ${DEADLINE} ms`)), DEADLINE).unref(),
  );

/** Takes the steps of one cell; whether one failed. */
async function run(number, cell) {
  const scenario = new Scenario(cell);
  let failed = false;
  for (const [name, step] of [
    ["card", scenario.card],
    ["send", scenario.send],
    ["stream", scenario.stream],
    ["get", scenario.get],
    ["list", scenario.list],
    ["cancel", scenario.cancel],
    ["subscribe", scenario.subscribe],
    ["multi-turn", scenario.multiTurn],
    ["parts", scenario.parts],
    ["fail", scenario.fail],
    ["unknown-task", scenario.unknownTask],
  ]) {
    let ok = true;
    let detail;
    try {
      if (cell.without?.[name]) throw new LeftOut(cell.without[name]);
      detail = await Promise.race([step.call(scenario), late(name)]);
    } catch (error) {
      ok = error instanceof LeftOut;
      failed ||= !ok;
      detail = ok ? `left out: ${error.message}` : `${error.name}: ${error.message}`;
    }
    console.log(JSON.stringify({ cell: number, step: name, ok, detail }));
  }
  return failed;
}

const cells = args.cell.map((cell) => JSON.parse(cell));
const outcomes = await Promise.all(cells.map((cell, number) => run(number, cell)));
process.exit(outcomes.includes(true) ? 1 : 0);
