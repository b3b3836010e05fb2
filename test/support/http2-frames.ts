import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** HTTP/2 frames by hand (RFC 9113, 4.1), for what well-behaved clients never do. */
export const frameType = { data: 0, headers: 1, rstStream: 3, settings: 4, ping: 6, goaway: 7 } as const;

const endStream = 0x1;
const endHeaders = 0x4;
const ack = 0x1;

export function http2Frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** The headers of a GET, which end its stream. */
export function getFrame(stream: number, path: string): Buffer {
  return headersFrame(stream, endStream, { ":method": "GET", ":path": path });
}

/** The headers of a gRPC call, whose messages are to follow. */
export function grpcFrame(stream: number, path: string): Buffer {
  return headersFrame(stream, 0, { ":method": "POST", ":path": path, "content-type": "application/grpc" });
}

/** Literal fields without indexing, no Huffman (RFC 7541, 6.2.2). */
function headersFrame(stream: number, flags: number, fields: Record<string, string>): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  const all = { ":scheme": "http", ":authority": "localhost", ...fields };
  const block = Object.entries(all).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]);
  return http2Frame(frameType.headers, endHeaders | flags, stream, Buffer.concat(block));
}

/** Ends a stream on both sides. @param code CANCEL, unless it is said otherwise */
export function resetFrame(stream: number, code = 8): Buffer {
  return http2Frame(frameType.rstStream, 0, stream, Buffer.from([0, 0, 0, code]));
}

/** A connection that has said hello, and answers nothing by itself. */
export async function openFrames(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  onTestFinished(() => {
    socket.destroy();
  });
  await once(socket, "connect");
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.write(http2Frame(frameType.settings, 0, 0));
  socket.write(http2Frame(frameType.settings, ack, 0));
  return socket;
}

/** What comes, frame by frame. */
export async function* framesOf(
  socket: Socket,
): AsyncGenerator<{ type: number; stream: number; payload: Buffer }> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      const end = 9 + bytes.readUIntBE(0, 3);
      yield { type: bytes.readUInt8(3), stream: bytes.readUInt32BE(5), payload: bytes.subarray(9, end) };
      bytes = bytes.subarray(end);
    }
  }
}

/** Waits until a connection is gone, by whatever way. */
export async function gone(socket: Socket): Promise<void> {
  socket.resume();
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
}
