import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import { http2Preface } from "../rpc/http2-frames.ts";

/** The address from which a test makes its own calls; each attacker has another loopback address. */
export const CALLER_ADDRESS = "127.0.0.1";

/** Returns the loopback address of an attacker, counted from 0. */
export function attackerAddress(index: number): string {
  return `127.0.1.${index + 1}`;
}

/**
 * Opens a connection from a loopback address, and sends bytes on it when it is established.
 * @returns the socket, which is closed when the test is over
 */
export function attack(port: number, localAddress: string, bytes: Uint8Array = http2Preface): Socket {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  socket.on("error", () => {});
  onTestFinished(() => {
    socket.destroy();
  });
  socket.once("connect", () => socket.write(bytes));
  return socket;
}

/**
 * Opens connections that stay idle, one after the other.
 * @returns those that the server has not closed before it acknowledged the settings, or sent another first byte
 */
export async function openIdle(port: number, localAddress: string, count: number): Promise<Socket[]> {
  const open: Socket[] = [];
  for (let index = 0; index < count; index += 1) {
    const socket = attack(port, localAddress);
    if (await isServed(socket)) open.push(socket);
  }
  return open;
}

/** Waits for the first byte from the server, or until it closes the connection. */
async function isServed(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    socket.once("data", () => resolve(true));
    socket.once("close", () => resolve(false));
  });
}

/** A flood of frames by workers that open another connection when theirs is closed. */
export interface Flood {
  workers: number;
  /** The connections that each worker opens in turn. */
  connections: number;
  /** The bytes that each connection sends after the preface. */
  bytes: Uint8Array;
  /** Defaults to that of HTTP/2. */
  preface?: Uint8Array;
  /** Whether the worker closes each connection once it has sent the bytes. Defaults to false. */
  isClosing?: boolean;
}

/** How the server treated the connections of a flood. */
export interface FloodReport {
  /** Connections that the server closed before it sent anything. */
  refused: number;
  /** Connections on which it sent something. */
  served: number;
}

/** Sends a flood from a loopback address. Ends when every connection is closed. */
export async function floodWithReconnects(
  port: number,
  localAddress: string,
  { workers, connections, bytes, preface = http2Preface, isClosing = false }: Flood,
): Promise<FloodReport> {
  const report: FloodReport = { refused: 0, served: 0 };
  const all = Buffer.concat([preface, bytes]);
  const work = async () => {
    for (let count = 0; count < connections; count += 1) {
      const socket = attack(port, localAddress, all);
      if (isClosing) socket.once("connect", () => socket.end());
      let isServed = false;
      socket.on("data", () => {
        isServed = true;
      });
      await new Promise((resolve) => socket.once("close", resolve));
      if (isServed) report.served += 1;
      else report.refused += 1;
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  return report;
}
