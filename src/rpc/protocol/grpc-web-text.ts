import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";

const TEXT_TYPE = /^application\/grpc-web-text(?=$|[+;])/i;
/** Base64 is decoded in groups of this many characters. */
const GROUP_LENGTH = 4;

/** Returns whether a request is gRPC-Web in base64, which browsers read piece by piece without binary responses. */
export function isGrpcWebText(contentType = ""): boolean {
  return TEXT_TYPE.test(contentType);
}

/** Returns a request of gRPC-Web in base64 as binary gRPC-Web. */
export function toBinaryRequest(request: UniversalServerRequest): UniversalServerRequest {
  const header = new Headers(request.header);
  header.set("content-type", (header.get("content-type") ?? "").replace(TEXT_TYPE, "application/grpc-web"));
  // The length of the base64.
  header.delete("content-length");
  const { body } = request;
  const isStream = typeof body === "object" && body !== null && Symbol.asyncIterator in body;
  return { ...request, header, body: isStream ? decodeChunks(body) : body };
}

/** Returns a response of binary gRPC-Web as base64. Errors about the request as a whole are not encoded. */
export function toTextResponse(response: UniversalServerResponse): UniversalServerResponse {
  const { body } = response;
  const header = new Headers(response.header);
  const type = header.get("content-type") ?? "";
  if (body === undefined || !type.startsWith("application/grpc-web")) return response;
  header.set("content-type", type.replace("application/grpc-web", "application/grpc-web-text"));
  return { ...response, header, body: encodeChunks(body) };
}

/** Encodes each chunk by itself, so that it can be read when it arrives: padding occurs between chunks. */
async function* encodeChunks(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const { buffer, byteOffset, byteLength } of body) {
    yield Buffer.from(Buffer.from(buffer, byteOffset, byteLength).toString("base64"));
  }
}

/**
 * Decodes pieces of base64 that follow each other, each with its own padding.
 * @throws ConnectError invalid_argument for other text
 */
async function* decodeChunks(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let text = "";
  for await (const { buffer, byteOffset, byteLength } of body) {
    text += Buffer.from(buffer, byteOffset, byteLength).toString("latin1");
    const end = text.length - (text.length % GROUP_LENGTH);
    if (end > 0) yield decode(text.slice(0, end));
    text = text.slice(end);
  }
  if (text !== "") throw malformedBase64();
}

function decode(text: string): Buffer {
  const pieces = text.match(/[A-Za-z0-9+/]+={0,2}/g) ?? [];
  const isWhole = pieces.every(({ length }) => length % GROUP_LENGTH === 0);
  if (!isWhole || pieces.reduce((sum, { length }) => sum + length, 0) !== text.length)
    throw malformedBase64();
  return Buffer.concat(pieces.map((piece) => Buffer.from(piece, "base64")));
}

function malformedBase64(): ConnectError {
  return new ConnectError(
    "The body is not valid base64. Encode it for application/grpc-web-text, or send application/grpc-web.",
    Code.InvalidArgument,
  );
}
