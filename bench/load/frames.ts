/** The types of HTTP/2 frames (RFC 9113, 6). */
export const frameType = {
  data: 0,
  headers: 1,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
} as const;

export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;
export const ACK = 0x1;
export const FRAME_HEADER_BYTES = 9;
/** The initial flow-control window of a connection (RFC 9113, 6.9.2). */
export const INITIAL_WINDOW = 65_535;
const MAX_WINDOW = 0x7fff_ffff;

/** Returns a frame (RFC 9113, 4.1). */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes.writeUInt8(type, 3);
  bytes.writeUInt8(flags, 4);
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, FRAME_HEADER_BYTES);
  return bytes;
}

/** Returns a WINDOW_UPDATE frame of the connection. */
export function windowUpdate(bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(frameType.windowUpdate, 0, 0, payload);
}

/**
 * The preface of a client. Its header table of size 0 lets the server send each field as a literal, so that trailers
 * are compared without decoding HPACK. Streams and the connection can receive any number of bytes.
 */
export const PREFACE = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  frame(frameType.settings, 0, 0, Buffer.concat([setting(1, 0), setting(4, MAX_WINDOW)])),
  windowUpdate(MAX_WINDOW - INITIAL_WINDOW),
]);

function setting(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}

/** The request headers of one gRPC method as HPACK header blocks (RFC 7541), which share the dynamic table of a connection. */
export interface HeaderBlocks {
  /** For the first call of a connection: literal fields, which the server adds to its dynamic table. */
  first: Buffer;
  /** For all later calls: the indexes of these fields in the table. */
  later: Buffer;
}

/** Encodes the headers of calls to `path`, such as /cartwright.order.v1.OrderService/CreateOrder. */
export function encodeHeaders(authority: string, path: string): HeaderBlocks {
  const postAndHttp = Buffer.from([0x83, 0x86]);
  const literals = [
    Buffer.from([0x44]), // :path
    text(path),
    Buffer.from([0x41]), // :authority
    text(authority),
    Buffer.from([0x5f]), // content-type
    text("application/grpc"),
    Buffer.from([0x40]),
    text("te"),
    text("trailers"),
  ];
  return {
    first: Buffer.concat([postAndHttp, ...literals]),
    // The dynamic table starts at 62 with the field that was added last.
    later: Buffer.concat([postAndHttp, Buffer.from([0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62])]),
  };
}

/** Encodes a string literal without Huffman coding (RFC 7541, 5.2). */
function text(value: string): Buffer {
  const MAX_SHORT_LENGTH = 126;
  if (value.length > MAX_SHORT_LENGTH) throw new RangeError(`"${value}" is too long for this encoder.`);
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value, "latin1")]);
}

/** The name grpc-status with its length, in Huffman coding (RFC 7541, appendix B). */
const GRPC_STATUS = Buffer.from("889acac8b21234da8f", "hex");

/**
 * Returns the gRPC status in a block of trailers, such as "0" for OK; "?" when there is none. Digits are not shorter in
 * Huffman coding, so that servers send them as they are.
 */
export function readGrpcStatus(block: Buffer): string {
  const at = block.indexOf(GRPC_STATUS);
  if (at < 0) return "?";
  const start = at + GRPC_STATUS.length + 1;
  return block.toString("latin1", start, start + block.readUInt8(start - 1));
}
