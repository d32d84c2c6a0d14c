// A SimplePush client (https://wiki.mozilla.org/WebAPI/SimplePush/Protocol) of
// another language than the product's, over the npm package ws, and the app
// server that it belongs to. It reads {url} from stdin: where a server or a
// relay listens. It plays the story below and ends with 0, or says what went
// wrong and ends with 1.
"use strict";
const assert = require("node:assert");
const { randomUUID } = require("node:crypto");
const { setTimeout: sleep } = require("node:timers/promises");
const WebSocket = require("ws");

const PATIENCE = 90_000; // ms, for what takes no time

/** One connection. Messages are taken in order, each once. */
class Connection {
  constructor(url) {
    this.messages = [];
    this.ring = () => {};
    this.ws = new WebSocket(url, "push-notification");
    this.closed = new Promise((resolve) => this.ws.on("close", resolve));
    this.opened = new Promise((resolve, reject) => this.ws.on("open", resolve).on("error", reject));
    this.ws.on("message", (data, binary) => {
      assert(!binary, "a binary message came");
      this.messages.push(JSON.parse(data));
      this.ring();
    });
  }

  static async open(url) {
    const c = new Connection(url);
    await c.opened;
    assert.strictEqual(c.ws.protocol, "push-notification");
    return c;
  }

  send(message) {
    this.ws.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** The next message that is not a notification sent again. */
  async next(wait = PATIENCE) {
    if (this.messages.length === 0) {
      const late = new AbortController();
      const ring = new Promise((resolve) => (this.ring = resolve));
      await Promise.race([ring, sleep(wait, null, { signal: late.signal }).catch(() => {})]);
      late.abort();
    }
    return this.messages.shift();
  }

  async ask(message) {
    this.send(message);
    const answer = await this.next();
    assert(answer, `no answer to ${JSON.stringify(message)}`);
    return answer;
  }

  /**
   * Waits for a version of a channel. Lower ones may come before it, and are
   * acknowledged: the next comes after the ack.
   */
  async version(channelID, want) {
    for (;;) {
      const m = await this.next();
      assert(m, `version ${want} did not come`);
      assert.strictEqual(m.messageType, "notification");
      assert.strictEqual(m.updates.length, 1);
      const [update] = m.updates;
      assert.strictEqual(update.channelID, channelID);
      assert(update.version <= want, `version ${update.version} came, ${want} was sent`);
      if (update.version === want) {
        return update;
      }
      this.ack(channelID, update.version);
    }
  }

  ack(channelID, version) {
    this.send({ messageType: "ack", updates: [{ channelID, version }] });
  }

  async close() {
    this.ws.close();
    await this.closed;
  }
}

async function put(endpoint, form) {
  const answer = await fetch(endpoint, { method: "PUT", body: new URLSearchParams(form) });
  const text = await answer.text();
  assert([200, 202].includes(answer.status), `PUT was answered ${answer.status} ${text}`);
}

/** Waits until an endpoint answers so. */
async function until(what, ask) {
  const start = Date.now();
  while (!(await ask())) {
    assert(Date.now() - start < PATIENCE, `${what} did not come true`);
    await sleep(20);
  }
}

const delivered = (endpoint, version) =>
  until(`version ${version} delivered`, async () => {
    const state = await (await fetch(endpoint)).json();
    return state.state === "delivered" && state.version === version;
  });

async function story(url) {
  const channelID = randomUUID();

  // A new device, one channel, one version.
  let c = await Connection.open(url);
  const hello = await c.ask({ messageType: "hello", uaid: "", channelIDs: [] });
  assert.strictEqual(hello.status, 200);
  assert.strictEqual(hello.messageType, "hello");
  const { uaid } = hello;
  assert(typeof uaid === "string" && uaid.length > 0);
  const registered = await c.ask({ messageType: "register", channelID });
  assert.strictEqual(registered.status, 200);
  assert.strictEqual(registered.channelID, channelID);
  const { pushEndpoint } = registered;
  assert(URL.canParse(pushEndpoint), `pushEndpoint ${pushEndpoint}`);
  assert.deepStrictEqual(await c.ask({ messageType: "register", channelID }), registered);
  await put(pushEndpoint, { version: "1" });
  await c.version(channelID, 1);
  c.ack(channelID, 1);
  await delivered(pushEndpoint, 1);
  assert.deepStrictEqual(await c.ask({}), {});
  await c.close();

  // Away: the latest version comes with the hello, until it is acknowledged.
  await put(pushEndpoint, { version: "5" });
  await put(pushEndpoint, { version: "7" });
  for (const seen of [false, true]) {
    c = await Connection.open(url);
    const again = await c.ask({ messageType: "hello", uaid, channelIDs: [channelID] });
    assert.strictEqual(again.status, 200);
    assert.strictEqual(again.uaid, uaid);
    await c.version(channelID, 7);
    if (seen) {
      c.ack(channelID, 7);
      await delivered(pushEndpoint, 7);
    }
    await c.close();
  }
  c = await Connection.open(url);
  await c.ask({ messageType: "hello", uaid, channelIDs: [channelID] });
  assert.strictEqual(await c.next(300), undefined, "something came after the ack");

  // Data beside the version.
  await put(pushEndpoint, { version: "8", data: "grüße" });
  assert.strictEqual((await c.version(channelID, 8)).data, "grüße");
  c.ack(channelID, 8);
  await delivered(pushEndpoint, 8);

  // A second connection takes the device over.
  const d = await Connection.open(url);
  assert.strictEqual((await d.ask({ MESSAGETYPE: "HELLO", UAID: uaid, channelIDs: [channelID] })).uaid, uaid);
  await c.closed;

  // The channel ends.
  const gone = await d.ask({ messageType: "unregister", channelID });
  assert.strictEqual(gone.status, 200);
  assert.strictEqual(gone.channelID, channelID);
  await until("410", async () => {
    const answer = await fetch(pushEndpoint, { method: "PUT", body: new URLSearchParams({ version: "9" }) });
    await answer.arrayBuffer();
    return answer.status === 410;
  });

  // What is wrong is told and ends the connection.
  const refused = await d.ask({ messageType: "Register", channelID: "not a UUID" });
  assert.strictEqual(refused.status, 401);
  assert.strictEqual(refused.error, "Invalid Command");
  assert.strictEqual(refused.messageType, "register");
  assert.strictEqual(refused.channelID, "not a UUID");
  await d.closed;
  const e = await Connection.open(url);
  assert.strictEqual((await e.ask({ messageType: "hello", uaid: 5, channelIDs: [] })).status, 401);
  await e.closed;
  const f = await Connection.open(url);
  f.send("no JSON");
  await f.closed;

  // A device that nobody knows and that has channels registers again.
  const g = await Connection.open(url);
  const other = await g.ask({ messageType: "hello", uaid: randomUUID(), channelIDs: [channelID] });
  assert.strictEqual(other.status, 200);
  assert.notStrictEqual(other.uaid, uaid);
  await g.close();
}

let input = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (text) => (input += text));
process.stdin.on("end", () => {
  story(JSON.parse(input).url).then(
    () => process.exit(0),
    (err) => {
      console.error(err);
      process.exit(1);
    },
  );
});
