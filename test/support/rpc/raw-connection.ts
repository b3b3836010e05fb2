import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import { http2Preface } from "./http2-frames.ts";

/**
 * Opens a connection that has sent the preface and settings, and responds to nothing by itself.
 * @param localAddress the loopback address of the caller
 */
export async function openRawHttp2(port: number, localAddress = "127.0.0.1"): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  socket.on("error", () => {});
  onTestFinished(() => {
    socket.destroy();
  });
  await once(socket, "connect");
  socket.write(http2Preface);
  return socket;
}

/** Yields the frames that arrive. */
export async function* readFrames(
  socket: Socket,
): AsyncGenerator<{ type: number; flags: number; stream: number; payload: Buffer }> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      const end = 9 + bytes.readUIntBE(0, 3);
      yield {
        type: bytes.readUInt8(3),
        flags: bytes.readUInt8(4),
        stream: bytes.readUInt32BE(5),
        payload: bytes.subarray(9, end),
      };
      bytes = bytes.subarray(end);
    }
  }
}

/** Waits until a connection is closed, by an error or not. */
export async function waitForClose(socket: Socket): Promise<void> {
  socket.resume();
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
}
