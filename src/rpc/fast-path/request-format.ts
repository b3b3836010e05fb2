import type { Protocol } from "../protocol/content-type.ts";
import { hasMalformedTimeout } from "../protocol/timeout-header.ts";
import type { HttpExchange } from "./http-exchange.ts";

/** The format of a request that the fast path reads. */
export interface RequestFormat {
  readonly protocol: Protocol;
  readonly isJson: boolean;
  /** The content type of the response. */
  readonly responseType: string;
  readonly acceptsGzip: boolean;
  /** The query of a GET, which contains the message. */
  readonly query: URLSearchParams | undefined;
}

type Codec = Pick<RequestFormat, "protocol" | "isJson" | "responseType">;

const GRPC: Codec = { protocol: "grpc", isJson: false, responseType: "application/grpc+proto" };
const GRPC_WEB: Codec = { protocol: "grpc-web", isJson: false, responseType: "application/grpc-web+proto" };
const CONNECT_PROTO: Codec = { protocol: "connect", isJson: false, responseType: "application/proto" };
const CONNECT_JSON: Codec = { protocol: "connect", isJson: true, responseType: "application/json" };

/** The codecs of POST, by content type. */
const POST_CODECS: ReadonlyMap<string | undefined, Codec> = new Map([
  ["application/grpc", GRPC],
  ["application/grpc+proto", GRPC],
  ["application/grpc-web", GRPC_WEB],
  ["application/grpc-web+proto", GRPC_WEB],
  ["application/proto", CONNECT_PROTO],
  ["application/json", CONNECT_JSON],
]);
/** The codecs of GET, by the query parameter `encoding`. */
const GET_CODECS: ReadonlyMap<string | null, Codec> = new Map([
  ["proto", CONNECT_PROTO],
  ["json", CONNECT_JSON],
]);

/** Host names and addresses with an optional port. Connect rejects what is malformed. */
const PLAIN_AUTHORITY = /^(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;

/**
 * Returns the format of a request; undefined for requests that only Connect reads: compressed, malformed, or in a codec
 * that is rarely used. Does not change the request.
 * @param isGetAllowed whether the method has no side effects
 * @param maxBytes the largest body that is not left to Connect to reject
 */
export function readRequestFormat(
  exchange: HttpExchange,
  isGetAllowed: boolean,
  maxBytes: number,
): RequestFormat | undefined {
  const { headers, method, authority = "" } = exchange;
  if (headers.expect !== undefined || !PLAIN_AUTHORITY.test(authority)) return undefined;
  if (method === "GET") return isGetAllowed ? readGetFormat(exchange) : undefined;
  const codec = method === "POST" ? POST_CODECS.get(headers["content-type"]) : undefined;
  if (codec === undefined || (codec.protocol === "grpc" && exchange.httpVersion === "1.1")) return undefined;
  const isGrpc = codec.protocol !== "connect";
  if (hasMalformedTimeout(headers, isGrpc)) return undefined;
  const encoding = isGrpc ? headers["grpc-encoding"] : headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") return undefined;
  const length = headers["content-length"];
  if (length !== undefined && !(Number(length) <= maxBytes)) return undefined;
  const accepted = isGrpc ? headers["grpc-accept-encoding"] : headers["accept-encoding"];
  return { ...codec, acceptsGzip: includesGzip(accepted), query: undefined };
}

function readGetFormat({ headers, target }: HttpExchange): RequestFormat | undefined {
  // Connect decides about a GET with a body.
  if (headers["content-type"] !== undefined || hasMalformedTimeout(headers, false)) return undefined;
  const query = new URLSearchParams(target.slice(target.indexOf("?") + 1));
  const codec = GET_CODECS.get(query.get("encoding"));
  const compression = query.get("compression") ?? "identity";
  if (codec === undefined || compression !== "identity") return undefined;
  return { ...codec, acceptsGzip: includesGzip(headers["accept-encoding"]), query };
}

function includesGzip(encodings: string | string[] | undefined): boolean {
  if (typeof encodings !== "string" || !encodings.includes("gzip")) return false;
  return encodings.split(",").some((name) => name.trim() === "gzip");
}
