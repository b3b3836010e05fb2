import { type DescMessage, fromBinary, fromJsonString, type Message } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { ConnectError } from "@connectrpc/connect";
import { decodeEnvelope, ENVELOPE_HEADER_BYTES, envelopeLength } from "../protocol/envelope.ts";
import { jsonOptions } from "../protocol/json-options.ts";
import { MAX_MESSAGE_BYTES } from "../server/server-limits.ts";
import { assertUtf8 } from "../validation/utf8.ts";
import type { HttpExchange } from "./http-exchange.ts";
import type { RequestFormat } from "./request-format.ts";

const utf8 = new TextDecoder();

/**
 * Returns the message of a request, from its body or query; undefined for a malformed one, whose error Connect creates.
 * @throws ConnectError for JSON that is not UTF-8, which Connect would accept
 */
export function readMessage(
  schema: DescMessage,
  { protocol, isJson, query }: RequestFormat,
  body: Buffer,
  headers: HttpExchange["headers"],
): Message | undefined {
  try {
    if (query !== undefined) return parse(schema, isJson, queryMessage(query));
    if (protocol !== "connect") {
      return maxBodyBytes(body) === body.length ? parse(schema, isJson, decodeEnvelope(body)) : undefined;
    }
    const length = headers["content-length"];
    if (body.length > MAX_MESSAGE_BYTES || (length !== undefined && Number(length) !== body.length))
      return undefined;
    return parse(schema, isJson, body);
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    return undefined;
  }
}

/** Returns the most bytes of a body that starts with this chunk of an envelope; 0 when its message is too large. */
export function maxBodyBytes(firstChunk: Buffer): number {
  if (firstChunk.length < ENVELOPE_HEADER_BYTES) return ENVELOPE_HEADER_BYTES + MAX_MESSAGE_BYTES;
  const length = envelopeLength(firstChunk);
  return length > MAX_MESSAGE_BYTES ? 0 : ENVELOPE_HEADER_BYTES + length;
}

function parse(schema: DescMessage, isJson: boolean, bytes: Uint8Array): Message {
  if (!isJson) return fromBinary(schema, bytes);
  assertUtf8(bytes);
  return fromJsonString(schema, utf8.decode(bytes), jsonOptions);
}

function queryMessage(query: URLSearchParams): Uint8Array {
  const message = query.get("message") ?? "";
  return query.get("base64") === "1" ? base64Decode(message) : Buffer.from(message);
}
