import { hasFaultyTimeout } from "../call/timeout.ts";
import { maxMessageBytes } from "../server/server-limits.ts";
import type { HttpExchange } from "./http-exchange.ts";

/** How a call is written, where it is written as nearly all are. */
export interface RequestFormat {
  readonly protocol: "grpc" | "grpc-web" | "connect";
  readonly isJson: boolean;
  /** What answers are called. */
  readonly contentType: string;
  /** Whether the caller reads gzip. */
  readonly gzip: boolean;
  /** Of a GET: where the message is. */
  readonly query: URLSearchParams | undefined;
}

type Kind = Pick<RequestFormat, "protocol" | "isJson" | "contentType">;

const grpc: Kind = { protocol: "grpc", isJson: false, contentType: "application/grpc+proto" };
const grpcWeb: Kind = { protocol: "grpc-web", isJson: false, contentType: "application/grpc-web+proto" };
const connectProto: Kind = { protocol: "connect", isJson: false, contentType: "application/proto" };
const connectJson: Kind = { protocol: "connect", isJson: true, contentType: "application/json" };

const posted: ReadonlyMap<string | undefined, Kind> = new Map([
  ["application/grpc", grpc],
  ["application/grpc+proto", grpc],
  ["application/grpc-web", grpcWeb],
  ["application/grpc-web+proto", grpcWeb],
  ["application/proto", connectProto],
  ["application/json", connectJson],
]);
const got: ReadonlyMap<string | null, Kind> = new Map([
  ["proto", connectProto],
  ["json", connectJson],
]);

/** Names and addresses with a port, as URLs have them. What is not of this kind is for others to refuse. */
const plainAuthority = /^(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;

/**
 * The form of a request; undefined for those that only Connect reads: compressed, with faults, in codecs that are
 * seldom used. Nothing of the request is changed by looking.
 * @param mayGet whether the method has no side effects
 */
export function readRequestFormat(exchange: HttpExchange, mayGet: boolean): RequestFormat | undefined {
  const { headers, method, authority = "" } = exchange;
  if (headers.expect !== undefined || !plainAuthority.test(authority)) return undefined;
  if (method === "GET") return mayGet ? formOfGet(exchange) : undefined;
  const kind = method === "POST" ? posted.get(headers["content-type"]) : undefined;
  if (kind === undefined || (kind.protocol === "grpc" && exchange.httpVersion === "1.1")) return undefined;
  const isGrpc = kind.protocol !== "connect";
  if (hasFaultyTimeout(headers, isGrpc)) return undefined;
  const encoding = isGrpc ? headers["grpc-encoding"] : headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") return undefined;
  const length = headers["content-length"];
  if (length !== undefined && !(Number(length) <= maxMessageBytes)) return undefined;
  const accepted = isGrpc ? headers["grpc-accept-encoding"] : headers["accept-encoding"];
  return { ...kind, gzip: readsGzip(accepted), query: undefined };
}

function formOfGet({ headers, target }: HttpExchange): RequestFormat | undefined {
  // A GET that says what it brings means something else.
  if (headers["content-type"] !== undefined || hasFaultyTimeout(headers, false)) return undefined;
  const query = new URLSearchParams(target.slice(target.indexOf("?") + 1));
  const kind = got.get(query.get("encoding"));
  const compression = query.get("compression") ?? "identity";
  if (kind === undefined || compression !== "identity") return undefined;
  return { ...kind, gzip: readsGzip(headers["accept-encoding"]), query };
}

function readsGzip(accepted: string | string[] | undefined): boolean {
  if (typeof accepted !== "string" || !accepted.includes("gzip")) return false;
  return accepted.split(",").some((name) => name.trim() === "gzip");
}
