import { fromBinary, type Message } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { ConnectError } from "@connectrpc/connect";
import { decodeEnvelope, ENVELOPE_HEADER_BYTES, envelopeLength } from "../protocol/envelope.ts";
import type { UnaryRoute } from "../server/routes.ts";
import type { HttpExchange } from "./http-exchange.ts";
import type { RequestFormat } from "./request-format.ts";

/**
 * Returns the message of a request, from its body or query; undefined for a malformed one, whose error Connect creates.
 * @param maxBytes the largest message
 * @throws ConnectError for JSON that is not UTF-8, and for numbers that ProtoJSON does not have
 */
export function readMessage(
  route: UnaryRoute,
  { protocol, isJson, query }: RequestFormat,
  body: Buffer,
  headers: HttpExchange["headers"],
  maxBytes: number,
): Message | undefined {
  try {
    if (query !== undefined) return parse(route, isJson, queryMessage(query));
    if (protocol !== "connect") {
      return maxEnvelopeBytes(body, maxBytes) === body.length
        ? parse(route, isJson, decodeEnvelope(body))
        : undefined;
    }
    const length = headers["content-length"];
    if (body.length > maxBytes || (length !== undefined && Number(length) !== body.length)) return undefined;
    return parse(route, isJson, body);
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    return undefined;
  }
}

/** Returns the most bytes of a body that starts with this chunk of an envelope; 0 when its message is too large. */
export function maxEnvelopeBytes(firstChunk: Buffer, maxBytes: number): number {
  if (firstChunk.length < ENVELOPE_HEADER_BYTES) return ENVELOPE_HEADER_BYTES + maxBytes;
  const length = envelopeLength(firstChunk);
  return length > maxBytes ? 0 : ENVELOPE_HEADER_BYTES + length;
}

function parse({ method, json }: UnaryRoute, isJson: boolean, bytes: Uint8Array): Message {
  return isJson ? json.parse(bytes) : fromBinary(method.input, bytes);
}

function queryMessage(query: URLSearchParams): Uint8Array {
  const message = query.get("message") ?? "";
  return query.get("base64") === "1" ? base64Decode(message) : Buffer.from(message);
}
