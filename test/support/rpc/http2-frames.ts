/** The types of HTTP/2 frames (RFC 9113, 6). These helpers do what well-behaved clients never do. */
export const frameType = { data: 0, headers: 1, rstStream: 3, settings: 4, ping: 6, goaway: 7 } as const;

/** The error codes of HTTP/2 (RFC 9113, 7). */
export const errorCode = { noError: 0, cancel: 8 } as const;

const END_STREAM = 0x1;
const END_HEADERS = 0x4;
const ACK = 0x1;

/** Returns a frame (RFC 9113, 4.1). */
export function http2Frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** Returns the HEADERS frame of a GET, which ends its side of the stream. */
export function getRequestFrame(
  stream: number,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Buffer {
  return headersFrame(stream, END_STREAM, { ":method": "GET", ":path": path, ...headers });
}

/** The fields of a header bomb, one byte each (RFC 7541, 6.1), all equal to the first of the dynamic table. */
const bombFields = Buffer.alloc(15_000, 0xbe);

/**
 * Returns a HEADERS frame of 15 kB that decompresses to 15,000 fields of 125 bytes.
 * @param isFirst whether it is the first of its connection, and adds the repeated field to the dynamic table
 */
export function headerBombFrame(stream: number, isFirst: boolean): Buffer {
  const field = Buffer.concat([
    Buffer.from([0x40, 5]),
    Buffer.from("x-bom"),
    Buffer.from([120]),
    Buffer.alloc(120, "x"),
  ]);
  const block = [encodeFields({ ":method": "GET", ":path": "/" }), ...(isFirst ? [field] : []), bombFields];
  return http2Frame(frameType.headers, END_HEADERS | END_STREAM, stream, Buffer.concat(block));
}

/** Returns the HEADERS frame of a gRPC call. DATA frames follow. */
export function grpcHeadersFrame(stream: number, path: string): Buffer {
  return headersFrame(stream, 0, { ":method": "POST", ":path": path, "content-type": "application/grpc" });
}

function headersFrame(stream: number, flags: number, fields: Record<string, string>): Buffer {
  return http2Frame(frameType.headers, END_HEADERS | flags, stream, encodeFields(fields));
}

/** Encodes literal fields without indexing and without Huffman coding (RFC 7541, 6.2.2). */
function encodeFields(fields: Record<string, string>): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  const all = { ":scheme": "http", ":authority": "localhost", ...fields };
  return Buffer.concat(
    Object.entries(all).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]),
  );
}

/** Returns an RST_STREAM frame. */
export function resetFrame(stream: number, code: number = errorCode.cancel): Buffer {
  return http2Frame(frameType.rstStream, 0, stream, Buffer.from([0, 0, 0, code]));
}

/** The preface of a client with its settings, and the acknowledgement of the server's. */
export const http2Preface = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  http2Frame(frameType.settings, 0, 0),
  http2Frame(frameType.settings, ACK, 0),
]);
