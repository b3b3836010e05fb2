import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import { AppError } from "../../../../src/kernel/errors.ts";
import type { WebhookReceiver } from "../../../../src/rpc/server/server.ts";
import { waitForClose } from "../../../support/rpc/raw-connection.ts";
import { connectHttp2 } from "../../../support/rpc/raw-http2.ts";
import { expectNoCrash, expectServing, startRpcServer } from "../../../support/rpc/rpc-server.ts";

type Received = Parameters<WebhookReceiver["receive"]>[0];

const PATH = "/webhooks/sandbox";
const MEBIBYTE = 1024 * 1024;

expectNoCrash();

/** Records webhooks. Those with the signature "forged" are invalid. */
function recordingReceiver(receive?: WebhookReceiver["receive"]) {
  const received: Received[] = [];
  const receiver: WebhookReceiver = {
    gateways: new Set(["sandbox"]),
    async receive(webhook, signal) {
      received.push(webhook);
      if (receive !== undefined) return receive(webhook, signal);
      return webhook.headers.get("signature") === "forged" ? "INVALID" : "STORED";
    },
  };
  return { received, receiver };
}

/** Posts a webhook over HTTP/1.1 from a loopback address. */
async function post(
  url: string,
  body: Buffer | string,
  { path = PATH, method = "POST", headers = {}, localAddress = "127.0.0.1" } = {},
) {
  const sent = request(new URL(path, url), { method, headers, localAddress, agent: false });
  const response = new Promise<{ status: number; headers: Record<string, unknown>; text: string }>(
    (resolve, reject) => {
      sent.on("error", reject);
      sent.on("response", async (message) => {
        let text = "";
        for await (const chunk of message) text += chunk;
        resolve({ status: message.statusCode ?? 0, headers: message.headers, text });
      });
    },
  );
  sent.end(body);
  return response;
}

/** Posts a webhook over HTTP/2. */
async function postHttp2(url: string, body: Buffer) {
  const stream = connectHttp2(url).request({ ":path": PATH, ":method": "POST", signature: "valid" });
  stream.on("error", () => {});
  stream.end(body);
  const [headers] = await once(stream, "response");
  let text = "";
  for await (const chunk of stream) text += chunk;
  return { status: Number(headers[":status"]), text };
}

describe("POST /webhooks/<gateway>", () => {
  test("passes the raw body and the headers on, and responds with 200 when the webhook is stored", async () => {
    const { received, receiver } = recordingReceiver();
    const { url } = await startRpcServer({ webhooks: receiver });
    const body = Buffer.from([0, 255, 13, 10, 123, 32, 125]);
    const headers = { signature: "valid", "content-type": "application/json" };
    expect(await post(url, body, { headers })).toMatchObject({ status: 200 });
    expect(await postHttp2(url, body)).toMatchObject({ status: 200 });
    expect(received.map(({ gateway }) => gateway)).toEqual(["sandbox", "sandbox"]);
    expect(received.map((webhook) => webhook.body)).toEqual([body, body]);
    expect(received.map((webhook) => webhook.headers.get("signature"))).toEqual(["valid", "valid"]);
  });

  test("reads a chunked body and an empty one", async () => {
    const { received, receiver } = recordingReceiver();
    const { url } = await startRpcServer({ webhooks: receiver });
    const headers = { "transfer-encoding": "chunked" };
    expect(await post(url, "a".repeat(100_000), { headers })).toMatchObject({ status: 200 });
    expect(await post(url, "")).toMatchObject({ status: 200 });
    expect(received.map(({ body }) => body.length)).toEqual([100_000, 0]);
  });

  test.each([
    ["404 for an unknown gateway", 404, { path: "/webhooks/unknown" }],
    ["404 without a gateway", 404, { path: "/webhooks/" }],
    ["404 below a gateway", 404, { path: "/webhooks/sandbox/events" }],
    ["404 for a path that is a property of objects", 404, { path: "/webhooks/constructor" }],
    ["405 for another method", 405, { method: "PUT" }],
    ["405 for GET", 405, { method: "GET" }],
    ["200 with a query", 200, { path: "/webhooks/sandbox?account=1" }],
  ])("responds with %s", async (_, status, options) => {
    const { received, receiver } = recordingReceiver();
    const { url } = await startRpcServer({ webhooks: receiver });
    const response = await post(url, "{}", options);
    expect(response.status).toBe(status);
    if (status === 405) expect(response.headers).toMatchObject({ allow: "POST" });
    expect(received).toHaveLength(status === 200 ? 1 : 0);
  });

  test("responds with 404 when no webhooks are received", async () => {
    const { url } = await startRpcServer();
    expect(await post(url, "{}")).toMatchObject({ status: 404 });
  });

  test.each([
    ["a stated length", {}],
    ["chunks", { "transfer-encoding": "chunked" }],
  ])("accepts 1 MiB, and rejects one more byte with 413, with %s", async (_, headers) => {
    const { received, receiver } = recordingReceiver();
    const { url } = await startRpcServer({ webhooks: receiver });
    expect(await post(url, Buffer.alloc(MEBIBYTE), { headers })).toMatchObject({ status: 200 });
    expect(await post(url, Buffer.alloc(MEBIBYTE + 1), { headers })).toMatchObject({ status: 413 });
    expect(received).toHaveLength(1);
    await expectServing(url);
  });

  test("rejects one byte more than 1 MiB with 413 over HTTP/2", async () => {
    const { received, receiver } = recordingReceiver();
    const { url } = await startRpcServer({ webhooks: receiver });
    expect(await postHttp2(url, Buffer.alloc(MEBIBYTE))).toMatchObject({ status: 200 });
    expect(await postHttp2(url, Buffer.alloc(MEBIBYTE + 1))).toMatchObject({ status: 413 });
    expect(received).toHaveLength(1);
  });

  test("a body whose sender does not end after 413 closes the connection", async () => {
    const { receiver } = recordingReceiver();
    const { port } = await startRpcServer({ webhooks: receiver, limits: { drainMs: 100 } });
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(`POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: ${2 ** 40}\r\n\r\n{`);
    const [response]: Buffer[] = await once(socket, "data");
    expect(response?.toString()).toMatch(/^HTTP\/1\.1 413/);
    await waitForClose(socket);
  });

  test("a body that does not arrive in time gets 408, and its connection is closed", async () => {
    const { received, receiver } = recordingReceiver();
    const { port } = await startRpcServer({
      webhooks: receiver,
      limits: { webhookBodyMs: 100, drainMs: 100 },
    });
    const socket = connect(port, "127.0.0.1");
    socket.write(`POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{`);
    const [response]: Buffer[] = await once(socket, "data");
    expect(response?.toString()).toMatch(/^HTTP\/1\.1 408[\s\S]*connection: close/i);
    await waitForClose(socket);
    expect(received).toEqual([]);
  });

  test("a body whose connection ends before it is complete is not received", async () => {
    const { received, receiver } = recordingReceiver();
    const { port, url } = await startRpcServer({ webhooks: receiver, limits: { maxWebhooks: 1 } });
    const socket = connect(port, "127.0.0.1");
    socket.write(`POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{}`);
    await once(socket, "ready");
    socket.resetAndDestroy();
    // Its slot is free again.
    await expect.poll(async () => (await post(url, "{}")).status).toBe(200);
    expect(received.map(({ body }) => body.toString())).toEqual(["{}"]);
  });

  test.each([
    [
      "the database is not available",
      new AppError("unavailable", "The database is not available.", { reason: "DATABASE_UNAVAILABLE" }),
      "debug",
    ],
    ["the receiver fails", new TypeError("undefined is not a function"), "error"],
  ])("responds with 503 and Retry-After when %s", async (_, error, level) => {
    const { receiver } = recordingReceiver(() => Promise.reject(error));
    const { url, lines } = await startRpcServer({ webhooks: receiver });
    expect(await post(url, "{}")).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
    expect(lines).toContainEqual({
      level,
      fields: { err: error, gateway: "sandbox" },
      message: "Webhook not stored",
    });
  });

  test("responds with 503 when a webhook is not stored in time, and aborts the receiver with DEADLINE_EXCEEDED", async () => {
    const { receiver } = recordingReceiver(
      (_, signal) =>
        new Promise((__, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        }),
    );
    const { url, lines } = await startRpcServer({ webhooks: receiver, limits: { webhookTimeoutMs: 50 } });
    expect(await post(url, "{}")).toMatchObject({ status: 503 });
    expect(lines.map(({ fields }) => fields)).toContainEqual({
      err: expect.objectContaining({ code: "deadline_exceeded" }),
      gateway: "sandbox",
    });
  });
});

describe("bounds of webhooks", () => {
  /** Blocks webhooks until they are released. */
  function blockingReceiver() {
    const release = Promise.withResolvers<"STORED">();
    return { ...recordingReceiver(() => release.promise), release: () => release.resolve("STORED") };
  }

  test("webhooks beyond the limit of concurrent ones get 503, and calls are served", async () => {
    const { received, receiver, release } = blockingReceiver();
    const { url } = await startRpcServer({ webhooks: receiver, limits: { maxWebhooks: 2 } });
    const first = post(url, "1");
    const second = post(url, "2", { localAddress: "127.0.0.2" });
    await expect.poll(() => received.length).toBe(2);
    expect(await post(url, "3", { localAddress: "127.0.0.3" })).toMatchObject({
      status: 503,
      headers: { "retry-after": "1" },
    });
    await expectServing(url);
    release();
    expect(await Promise.all([first, second])).toMatchObject([{ status: 200 }, { status: 200 }]);
    expect(await post(url, "4")).toMatchObject({ status: 200 });
  });

  test("bodies that do not arrive do not keep others from being received", async () => {
    const { received, receiver } = recordingReceiver();
    const { port, url } = await startRpcServer({ webhooks: receiver, limits: { maxWebhooks: 4 } });
    const sockets = Array.from({ length: 8 }, () =>
      connect({ port, host: "127.0.0.1", localAddress: "127.0.0.2" }),
    );
    for (const socket of sockets) {
      socket.on("error", () => {});
      socket.write(`POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{`);
      await once(socket, "ready");
    }
    for (let count = 1; count <= 20; count += 1) {
      expect(await post(url, String(count))).toMatchObject({ status: 200 });
    }
    expect(received).toHaveLength(20);
    for (const socket of sockets) socket.destroy();
  });

  test("forged webhooks get 400, are logged once a second, and put their address into debt", async () => {
    const { receiver } = recordingReceiver();
    // 1 MiB costs as much as 65 rejected calls, each a tenth of a unit.
    const limits = { resetBurst: 13, resetsPerSecond: 0.001 };
    const { url, lines } = await startRpcServer({ webhooks: receiver, limits });
    const forged = { headers: { signature: "forged" }, localAddress: "127.0.0.2" };
    expect(await post(url, "{}", forged)).toMatchObject({ status: 400 });
    expect(await post(url, Buffer.alloc(MEBIBYTE), forged)).toMatchObject({ status: 400 });
    await post(url, Buffer.alloc(MEBIBYTE), forged).catch(() => {});
    // Its connections serve health checks only.
    expect(await post(url, "{}", forged)).toMatchObject({ status: 503, headers: { connection: "close" } });
    expect(await post(url, "{}")).toMatchObject({ status: 200 });
    const [line] = lines.filter(({ message }) => message === "Webhook rejected");
    expect(line).toEqual({
      level: "warn",
      fields: { gateway: "sandbox", address: "127.0.0.2", bytes: 2, rejected: 1 },
      message: "Webhook rejected",
    });
  });
});
