import { type DescMessage, fromBinary, fromJsonString, type Message } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { ConnectError } from "@connectrpc/connect";
import { jsonOptions } from "../server/routes.ts";
import { maxMessageBytes } from "../server/server-limits.ts";
import { assertUtf8 } from "../validation/utf8.ts";
import type { HttpExchange } from "./http-exchange.ts";
import type { RequestFormat } from "./request-format.ts";
import { FRAME_HEAD_BYTES } from "./response-encoder.ts";

const utf8 = new TextDecoder();

/**
 * The message of a request, from its body or its query. Undefined for one with any fault: Connect is to say what
 * is wrong with it. It would not say that JSON is no UTF-8.
 * @throws ConnectError then
 */
export function messageOf(
  schema: DescMessage,
  { protocol, isJson, query }: RequestFormat,
  body: Buffer,
  headers: HttpExchange["headers"],
): Message | undefined {
  try {
    if (query !== undefined) return parse(schema, isJson, contentOf(query));
    if (protocol !== "connect") return parse(schema, isJson, unframed(body));
    const length = headers["content-length"];
    if (body.length > maxMessageBytes || (length !== undefined && Number(length) !== body.length))
      return undefined;
    return parse(schema, isJson, body);
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    return undefined;
  }
}

function parse(schema: DescMessage, isJson: boolean, bytes: Uint8Array): Message {
  if (!isJson) return fromBinary(schema, bytes);
  assertUtf8(bytes);
  return fromJsonString(schema, utf8.decode(bytes), jsonOptions);
}

function contentOf(query: URLSearchParams): Uint8Array {
  const message = query.get("message") ?? "";
  return query.get("base64") === "1" ? base64Decode(message) : Buffer.from(message);
}

/** How long a body is whose frame begins so; 0 when that is too long to be read at all. */
export function frameBytes(head: Buffer): number {
  if (head.length < FRAME_HEAD_BYTES) return FRAME_HEAD_BYTES + maxMessageBytes;
  const length = head.readUInt32BE(1);
  return length > maxMessageBytes ? 0 : FRAME_HEAD_BYTES + length;
}

/** What is in the only frame of a body. @throws RangeError when there is not exactly one, uncompressed */
function unframed(body: Buffer): Uint8Array {
  const end = FRAME_HEAD_BYTES + body.readUInt32BE(1);
  if (body.readUInt8() !== 0 || end !== body.length || end - FRAME_HEAD_BYTES > maxMessageBytes) {
    throw new RangeError("a frame of another kind");
  }
  return body.subarray(FRAME_HEAD_BYTES);
}
