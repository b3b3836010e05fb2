import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { type DescMessage, type Message, toBinary, toJsonString } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import { ENVELOPE_FLAGS, ENVELOPE_HEADER_BYTES, encodeEnvelope } from "../protocol/envelope.ts";
import type { JsonOptions } from "../protocol/json-options.ts";
import { MAX_MESSAGE_BYTES } from "../server/server-limits.ts";

/** The encoding of a message: bare, or in the envelope of gRPC. */
export type Encoding = "proto" | "json" | "envelope";

/** A message as it is sent. */
export interface EncodedMessage {
  readonly bytes: Buffer;
  readonly isGzip: boolean;
}

/** Smaller messages are not compressed; Connect has the same threshold. */
const COMPRESS_MIN_BYTES = 1_024;

const compress = promisify(gzip);

/** The memory of a cached encoding beside its bytes, estimated. */
const ENTRY_BYTES = 300;

/** The cached encodings of one message. */
interface CachedEncodings {
  readonly byName: Map<string, EncodedMessage>;
  bytes: number;
}

/**
 * Encodes a message.
 * @param options.isShared the same message object is sent to others too: its encodings are cached
 * @throws ConnectError for a message that is too large
 */
export type ResponseEncoder = (
  schema: DescMessage,
  message: Message,
  encoding: Encoding,
  options: { gzip: boolean; isShared: boolean },
) => EncodedMessage | Promise<EncodedMessage>;

/**
 * Creates an encoder.
 * @param maxBytes the memory for cached encodings; the least recently used are dropped
 */
export function createResponseEncoder(maxBytes: number, jsonOptions: JsonOptions): ResponseEncoder {
  const encodingsOf = new WeakMap<Message, CachedEncodings>();
  // The value is the size: setting the same object again would keep the size that it had.
  const lru = new LRUCache<CachedEncodings, number>({
    maxSize: maxBytes,
    sizeCalculation: (bytes) => bytes,
    dispose: (_, encodings, reason) => {
      if (reason !== "set") encodings.byName.clear();
    },
  });
  const store = (message: Message, name: string, encoded: EncodedMessage): EncodedMessage => {
    const encodings = encodingsOf.get(message) ?? { byName: new Map(), bytes: 0 };
    if (encodings.byName.size === 0) encodings.bytes = 0;
    const bytes = encodings.bytes + ENTRY_BYTES + encoded.bytes.length;
    if (bytes > maxBytes) return encoded;
    encodingsOf.set(message, encodings);
    encodings.byName.set(name, encoded);
    encodings.bytes = bytes;
    lru.set(encodings, bytes);
    return encoded;
  };
  const find = (message: Message, name: string): EncodedMessage | undefined => {
    const encodings = encodingsOf.get(message);
    return encodings !== undefined && lru.get(encodings) !== undefined
      ? encodings.byName.get(name)
      : undefined;
  };
  return (schema, message, encoding, { gzip, isShared }) => {
    const name = gzip ? `${encoding}+gzip` : encoding;
    const cached = isShared ? find(message, name) : undefined;
    if (cached !== undefined) return cached;
    const plain =
      (isShared ? find(message, encoding) : undefined) ?? encode(schema, message, encoding, jsonOptions);
    if (gzip) {
      const compressed = compressMessage(plain, encoding);
      return isShared ? compressed.then((encoded) => store(message, name, encoded)) : compressed;
    }
    return isShared ? store(message, name, plain) : plain;
  };
}

function encode(
  schema: DescMessage,
  message: Message,
  encoding: Encoding,
  jsonOptions: JsonOptions,
): EncodedMessage {
  const bytes =
    encoding === "json"
      ? encodeText(toJsonString(schema, message, jsonOptions))
      : asBuffer(toBinary(schema, message));
  if (bytes.length > MAX_MESSAGE_BYTES) {
    const text = `message size ${bytes.length} is larger than configured writeMaxBytes ${MAX_MESSAGE_BYTES}`;
    throw new ConnectError(text, Code.ResourceExhausted);
  }
  return {
    bytes: encoding === "envelope" ? encodeEnvelope(bytes, ENVELOPE_FLAGS.none) : bytes,
    isGzip: false,
  };
}

async function compressMessage(plain: EncodedMessage, encoding: Encoding): Promise<EncodedMessage> {
  const isEnvelope = encoding === "envelope";
  const content = isEnvelope ? plain.bytes.subarray(ENVELOPE_HEADER_BYTES) : plain.bytes;
  if (content.length < COMPRESS_MIN_BYTES) return plain;
  const compressed = await compress(content);
  if (isEnvelope) return { bytes: encodeEnvelope(compressed, ENVELOPE_FLAGS.compressed), isGzip: true };
  // zlib returns a slice of a larger buffer, all of which would be kept.
  const bytes = Buffer.allocUnsafeSlow(compressed.length);
  bytes.set(compressed);
  return { bytes, isGzip: true };
}

function encodeText(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
