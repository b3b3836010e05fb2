import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { type DescMessage, type Message, toBinary, toJsonString } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import { jsonOptions } from "../server/routes.ts";
import { maxMessageBytes } from "../server/server-limits.ts";

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

/** What a kept form takes besides its bytes, estimated. */
const FORM_BYTES = 300;

/** What has been made of a message so far. It is the message that finds it, and the bytes that are bounded. */
interface Forms {
  readonly made: Map<string, Encoded>;
  bytes: number;
}

/**
 * Writes a message.
 * @param how.isShared the very same message is given to others too: what is made of it is kept
 * @throws ConnectError for a message that is too large
 */
export type ResponseEncoder = (
  schema: DescMessage,
  message: Message,
  encoding: Encoding,
  how: { gzip: boolean; isShared: boolean },
) => Encoded | Promise<Encoded>;

/** @param maxBytes how much memory kept bytes may take; those go first that were not asked for for longest */
export function createResponseEncoder(maxBytes: number): ResponseEncoder {
  const found = new WeakMap<Message, Forms>();
  // By their bytes: a value that is the same as before would keep the size that it had.
  const bounded = new LRUCache<Forms, number>({
    maxSize: maxBytes,
    sizeCalculation: (bytes) => bytes,
    dispose: (_, forms, reason) => {
      if (reason !== "set") forms.made.clear();
    },
  });
  const keep = (message: Message, name: string, encoded: Encoded): Encoded => {
    const forms = found.get(message) ?? { made: new Map(), bytes: 0 };
    if (forms.made.size === 0) forms.bytes = 0;
    const bytes = forms.bytes + FORM_BYTES + encoded.bytes.length;
    if (bytes > maxBytes) return encoded;
    found.set(message, forms);
    forms.made.set(name, encoded);
    forms.bytes = bytes;
    bounded.set(forms, bytes);
    return encoded;
  };
  const kept = (message: Message, name: string): Encoded | undefined => {
    const forms = found.get(message);
    return forms !== undefined && bounded.get(forms) !== undefined ? forms.made.get(name) : undefined;
  };
  return (schema, message, encoding, { gzip, isShared }) => {
    const name = gzip ? `${encoding}+gzip` : encoding;
    const known = isShared ? kept(message, name) : undefined;
    if (known !== undefined) return known;
    const plain = (isShared ? kept(message, encoding) : undefined) ?? write(schema, message, encoding);
    if (gzip) {
      const squeezed = squeeze(plain, encoding);
      return isShared ? squeezed.then((made) => keep(message, name, made)) : squeezed;
    }
    return isShared ? keep(message, name, plain) : plain;
  };
}

function write(schema: DescMessage, message: Message, encoding: Encoding): Encoded {
  const bytes =
    encoding === "json"
      ? bytesOf(toJsonString(schema, message, jsonOptions))
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
  const squeezed = await compress(content);
  if (isFrame) return { bytes: framed(squeezed, COMPRESSED), isGzip: true };
  // What zlib gives is a part of a longer piece, all of which would be kept.
  const bytes = Buffer.allocUnsafeSlow(squeezed.length);
  bytes.set(squeezed);
  return { bytes, isGzip: true };
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

function bytesOf(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
