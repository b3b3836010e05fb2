import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import {
  getRequestFrame,
  headerBombFrame,
  http2Preface,
  resetFrame,
} from "../../test/support/rpc/http2-frames.ts";

/** The victim and the loopback address of an attacker. */
export interface Target {
  port: number;
  localAddress: string;
}

/** What an attack has done. */
export interface AttackCounts {
  /** Connections on which the service sent something. */
  served: number;
  /** Connections that it closed before. */
  refused: number;
  /** Connections that are open. */
  open: number;
}

/** A running attack. All of them are bounded by {@link MAX_CONNECTIONS}. */
export interface Attack {
  counts: AttackCounts;
  /** Runs until the signal aborts or the bound is reached. */
  run(signal: AbortSignal): Promise<void>;
}

/** The most connections that one attack opens, all together. */
const MAX_CONNECTIONS = 10_000;
const WORKERS = 8;
/** The pause of a worker whose connection was refused, in milliseconds. */
const RETRY_MS = 5;
const STREAMS_PER_CONNECTION = 1_000;
const STALLED_CONNECTIONS = 280;
const BODY_PATH = "/cartwright.catalog.v1.CatalogService/ListProducts";

/** The attacks by name. */
export const attacks: ReadonlyMap<string, (target: Target) => Attack> = new Map([
  ["idle HTTP/2 connections", (target) => keepConnections(target, MAX_CONNECTIONS, http2Preface)],
  ["rapid resets by 8 workers that reconnect", (target) => flood(target, rapidResets())],
  ["header blocks that decompress to 1.9 MB", (target) => flood(target, headerBombs())],
  [
    "HTTP/1.1 bodies that stall after a byte",
    (target) => keepConnections(target, STALLED_CONNECTIONS, stalledBody()),
  ],
]);

/** Opens connections that send the same bytes and then nothing, and opens others in place of those that are closed. */
function keepConnections(target: Target, connections: number, bytes: Uint8Array): Attack {
  const counts: AttackCounts = { served: 0, refused: 0, open: 0 };
  return {
    counts,
    async run(signal) {
      for (let opened = 0; opened < MAX_CONNECTIONS && !signal.aborted; ) {
        for (let batch = 0; batch < 50 && counts.open < connections; batch += 1, opened += 1) {
          openConnection(target, counts, signal, bytes);
        }
        await sleep(RETRY_MS);
      }
    },
  };
}

/** Runs workers that send a flood on one connection after another. */
function flood(target: Target, bytes: Uint8Array): Attack {
  const counts: AttackCounts = { served: 0, refused: 0, open: 0 };
  const all = Buffer.concat([http2Preface, bytes]);
  const work = async (signal: AbortSignal) => {
    for (let opened = 0; opened < MAX_CONNECTIONS / WORKERS && !signal.aborted; opened += 1) {
      const { refused } = counts;
      const socket = openConnection(target, counts, signal, all);
      await new Promise((resolve) => socket.once("close", resolve));
      if (counts.refused > refused) await sleep(RETRY_MS);
    }
  };
  return {
    counts,
    async run(signal) {
      await Promise.all(Array.from({ length: WORKERS }, () => work(signal)));
    },
  };
}

function openConnection(
  { port, localAddress }: Target,
  counts: AttackCounts,
  signal: AbortSignal,
  bytes: Uint8Array,
): Socket {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  let isServed = false;
  counts.open += 1;
  const stop = () => socket.destroy();
  signal.addEventListener("abort", stop, { once: true });
  socket.once("connect", () => socket.write(bytes));
  socket.on("data", () => {
    isServed = true;
  });
  socket.on("error", () => {});
  socket.once("close", () => {
    signal.removeEventListener("abort", stop);
    counts.open -= 1;
    if (isServed) counts.served += 1;
    else counts.refused += 1;
  });
  return socket;
}

const streamIds = Array.from({ length: STREAMS_PER_CONNECTION }, (_, index) => 2 * index + 1);

const rapidResets = (): Buffer =>
  Buffer.concat(
    streamIds.flatMap((id) => [getRequestFrame(id, `${BODY_PATH}?encoding=json&message={}`), resetFrame(id)]),
  );

const headerBombs = (): Buffer => Buffer.concat(streamIds.map((id) => headerBombFrame(id, id === 1)));

const stalledBody = (): Buffer =>
  Buffer.from(
    `POST ${BODY_PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
  );
