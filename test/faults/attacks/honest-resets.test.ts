import { BlockList } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { openIdle } from "../../support/attacks/attackers.ts";
import { callOnce } from "../../support/attacks/caller.ts";
import { blockLists } from "../../support/rpc/blocking-handler.ts";
import { frameType, getRequestFrame, http2Frame, resetFrame } from "../../support/rpc/http2-frames.ts";
import { openRawHttp2, readFrames, waitForClose } from "../../support/rpc/raw-connection.ts";
import { listProductsGet } from "../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../support/rpc/rpc-server.ts";

const STREAMS = 100;
const RAPID_RESET_MS = 5;
const limits = { resetBurst: 10, resetsPerSecond: 0.01, rapidResetMs: RAPID_RESET_MS };

const ids = Array.from({ length: STREAMS }, (_, index) => 2 * index + 1);
const requests = Buffer.concat(ids.map((id) => getRequestFrame(id, listProductsGet)));
const resets = Buffer.concat(ids.map((id) => resetFrame(id)));
const pingFrame = http2Frame(frameType.ping, 0, 0, Buffer.alloc(8));

test("calls that are cancelled at their deadlines cost their address nothing", async () => {
  const lists = blockLists();
  const { port, lines } = await startRpcServer({ catalog: lists.catalog, limits });
  const socket = await openRawHttp2(port);
  socket.write(requests);
  await expect.poll(lists.startedCount).toBe(STREAMS);
  await sleep(2 * RAPID_RESET_MS);
  socket.write(Buffer.concat([resets, pingFrame]));
  await expect.poll(() => lines.filter(({ message }) => message === "Call ended").length).toBe(STREAMS);
  expect(socket.closed).toBe(false);
  expect(await callOnce(port)).toBe("0");
});

test.each(["closed", "reset"])(
  "connections that are %s while calls have been waiting cost their address nothing",
  async (how) => {
    const lists = blockLists();
    const { port, lines } = await startRpcServer({ catalog: lists.catalog, limits });
    for (let count = 1; count <= 5; count += 1) {
      const socket = await openRawHttp2(port);
      socket.write(requests);
      await expect.poll(lists.startedCount).toBe(count * STREAMS);
      await sleep(2 * RAPID_RESET_MS);
      if (how === "reset") socket.resetAndDestroy();
      else socket.end();
      await waitForClose(socket);
    }
    await expect.poll(() => lines.filter(({ message }) => message === "Call ended").length).toBe(5 * STREAMS);
    expect(await callOnce(port)).toBe("0");
  },
);

test("responses that are complete cost their address nothing", async () => {
  const { port } = await startRpcServer({ limits: { ...limits, rapidResetMs: 60_000 } });
  for (let count = 0; count < 30; count += 1) expect(await callOnce(port)).toBe("0");
});

test("connections without calls cost their address no more than a reset each, when they end", async () => {
  const { port } = await startRpcServer({ limits: { ...limits, resetBurst: 50, refusedHeadersMs: 1 } });
  const idle = await openIdle(port, "127.0.0.1", 50);
  expect(await callOnce(port)).toBe("0");
  for (const socket of idle) socket.end();
  await Promise.all(idle.map(waitForClose));
  expect(await callOnce(port)).toBe("0");
});

test("sessions that a client ends with an error cost its address nothing", async () => {
  const { port } = await startRpcServer({ limits });
  for (let count = 0; count < 3; count += 1) {
    const socket = await openRawHttp2(port);
    // The last stream, and INTERNAL_ERROR.
    socket.write(http2Frame(frameType.goaway, 0, 0, Buffer.from([0, 0, 0, 0, 0, 0, 0, 2])));
    await waitForClose(socket);
  }
  expect(await callOnce(port)).toBe("0");
});

test("resets by a trusted proxy close nothing", async () => {
  const trustedProxies = new BlockList();
  trustedProxies.addAddress("127.0.0.1");
  const lists = blockLists();
  const { port } = await startRpcServer({
    catalog: lists.catalog,
    limits: { ...limits, rapidResetMs: 60_000 },
    trustedProxies,
  });
  const socket = await openRawHttp2(port);
  socket.write(Buffer.concat([requests, resets, pingFrame]));
  // The acknowledgement of the ping shows that the server has handled the resets.
  let isAcknowledged = false;
  for await (const { type } of readFrames(socket)) {
    isAcknowledged = type === frameType.ping;
    if (isAcknowledged) break;
  }
  expect(isAcknowledged).toBe(true);
  expect(await callOnce(port)).toBe("0");
});
