import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { callOnce } from "../../support/attacks/caller.ts";
import { blockLists } from "../../support/rpc/blocking-handler.ts";
import {
  errorCode,
  frameType,
  getRequestFrame,
  grpcHeadersFrame,
  http2Frame,
  resetFrame,
} from "../../support/rpc/http2-frames.ts";
import { openRawHttp2, readFrames, waitForClose } from "../../support/rpc/raw-connection.ts";
import { listProductsGet } from "../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../support/rpc/rpc-server.ts";

const STREAMS = 50;
const TIMEOUT_MS = 400;
const ids = Array.from({ length: STREAMS }, (_, index) => 2 * index + 1);

/** Every reset of 50 would be beyond the burst, and nothing is regained. */
const limits = { resetBurst: 10, resetsPerSecond: 0.01 };
/** No stream grows older. */
const rapidResetMs = 60_000;

const pingFrame = http2Frame(frameType.ping, 0, 0, Buffer.alloc(8));
/** SETTINGS_INITIAL_WINDOW_SIZE of 0: the client accepts no byte of a body. */
const noWindow = http2Frame(frameType.settings, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0]));

test("calls that are cancelled at a declared timeout shorter than rapidResetMs cost their address nothing", async () => {
  const lists = blockLists();
  const { port } = await startRpcServer({ catalog: lists.catalog, limits: { ...limits, rapidResetMs } });
  const socket = await openRawHttp2(port);
  const headers = { "connect-timeout-ms": `${TIMEOUT_MS}` };
  socket.write(Buffer.concat(ids.map((id) => getRequestFrame(id, listProductsGet, headers))));
  await expect.poll(lists.startedCount).toBe(STREAMS);
  // The client's timer started earlier than the server's, and the server has not responded.
  await sleep(TIMEOUT_MS / 2);
  socket.write(Buffer.concat([...ids.map((id) => resetFrame(id)), pingFrame]));
  for await (const { type } of readFrames(socket)) if (type === frameType.ping) break;
  expect(await callOnce(port)).toBe("0");
});

test("complete responses whose streams are cancelled then cost their address nothing", async () => {
  const { port } = await startRpcServer({ limits: { ...limits, rapidResetMs } });
  const socket = await openRawHttp2(port);
  // The requests have no end, so that the streams stay open after the responses.
  socket.write(Buffer.concat(ids.map((id) => grpcHeadersFrame(id, "/unknown"))));
  let responses = 0;
  for await (const { type, flags } of readFrames(socket)) {
    if (type === frameType.ping && responses === STREAMS) break;
    if ((type === frameType.headers || type === frameType.data) && (flags & 1) === 1) responses += 1;
    if (responses === STREAMS) socket.write(Buffer.concat([...ids.map((id) => resetFrame(id)), pingFrame]));
  }
  expect(responses).toBe(STREAMS);
  expect(await callOnce(port)).toBe("0");
});

test("streams that the server aborts cost their address nothing", async () => {
  const { port } = await startRpcServer({ limits: { ...limits, rapidResetMs, maxUnsentBytes: 1 } });
  const socket = await openRawHttp2(port);
  socket.write(Buffer.concat([noWindow, ...ids.map((id) => getRequestFrame(id, listProductsGet))]));
  let aborted = 0;
  for await (const { type, payload } of readFrames(socket)) {
    if (type === frameType.rstStream && payload.readUInt32BE() === errorCode.cancel) aborted += 1;
    // The response that was sent last stays.
    if (aborted === STREAMS - 1) break;
  }
  expect(aborted).toBe(STREAMS - 1);
  expect(await callOnce(port)).toBe("0");
});

test.each([
  ["whose first stream is 3, as those of Netty", 20, 3],
  ["that skip 1,000 stream ids", 5, 2_001],
])("connections %s cost their address nothing", async (_, connections, id) => {
  const { port } = await startRpcServer({ limits: { ...limits, refusedHeadersMs: 1 } });
  for (let count = 0; count < connections; count += 1) {
    const socket = await openRawHttp2(port);
    socket.write(getRequestFrame(id, listProductsGet));
    let isServed = false;
    for await (const { type, stream, flags } of readFrames(socket)) {
      isServed = type === frameType.data && stream === id && (flags & 1) === 1;
      if (isServed) break;
    }
    expect(isServed).toBe(true);
    socket.end();
    await waitForClose(socket);
  }
  expect(await callOnce(port)).toBe("0");
});
