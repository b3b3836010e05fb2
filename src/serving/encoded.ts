import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { type DescMessage, type Message, toBinary, toJsonString } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { maxMessageBytes } from "./limits.ts";
import { jsonOptions } from "./routes.ts";

/** How a message is written: alone, or in the frame that gRPC puts around it. */
export type Encoding = "proto" | "json" | "frame";

/** A message as it is sent. */
export interface Encoded {
  readonly bytes: Buffer;
  readonly isGzip: boolean;
}

/** Smaller ones are not worth the work, which is what Connect thinks too. */
const COMPRESS_MIN_BYTES = 1_024;
/** Flags and length. */
export const FRAME_HEAD_BYTES = 5;
const COMPRESSED = 1;

const compress = promisify(gzip);

/**
 * Messages that are given more than once, with what has been made of them so far. A message that the cache lets go
 * takes its bytes with it.
 */
const kept = new WeakMap<Message, Map<string, Encoded>>();

/**
 * Writes a message.
 * @param isShared the very same message is given to others too: what is made of it is kept
 * @throws ConnectError for a message that is too large
 */
export function encode(
  schema: DescMessage,
  message: Message,
  encoding: Encoding,
  { gzip, isShared }: { gzip: boolean; isShared: boolean },
): Encoded | Promise<Encoded> {
  if (!isShared)
    return gzip ? squeeze(write(schema, message, encoding), encoding) : write(schema, message, encoding);
  const forms = kept.get(message) ?? new Map<string, Encoded>();
  kept.set(message, forms);
  const name = gzip ? `${encoding}+gzip` : encoding;
  const known = forms.get(name);
  if (known !== undefined) return known;
  const plain = forms.get(encoding) ?? write(schema, message, encoding);
  if (!gzip) {
    forms.set(name, plain);
    return plain;
  }
  return squeeze(plain, encoding).then((squeezed) => {
    forms.set(name, squeezed);
    return squeezed;
  });
}

function write(schema: DescMessage, message: Message, encoding: Encoding): Encoded {
  const bytes =
    encoding === "json"
      ? Buffer.from(toJsonString(schema, message, jsonOptions))
      : bufferOf(toBinary(schema, message));
  if (bytes.length > maxMessageBytes) {
    const text = `message size ${bytes.length} is larger than configured writeMaxBytes ${maxMessageBytes}`;
    throw new ConnectError(text, Code.ResourceExhausted);
  }
  return { bytes: encoding === "frame" ? framed(bytes, 0) : bytes, isGzip: false };
}

async function squeeze(plain: Encoded, encoding: Encoding): Promise<Encoded> {
  const isFrame = encoding === "frame";
  const content = isFrame ? plain.bytes.subarray(FRAME_HEAD_BYTES) : plain.bytes;
  if (content.length < COMPRESS_MIN_BYTES) return plain;
  const bytes = await compress(content);
  return { bytes: isFrame ? framed(bytes, COMPRESSED) : bytes, isGzip: true };
}

/** A message with its flags and length before it. */
export function framed(message: Uint8Array, flags: number): Buffer {
  // Not from the pool: a kept frame would keep all of that.
  const frame = Buffer.allocUnsafeSlow(FRAME_HEAD_BYTES + message.length);
  frame.writeUInt8(flags);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, FRAME_HEAD_BYTES);
  return frame;
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
