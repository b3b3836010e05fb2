import { Code } from "@connectrpc/connect";
import { truncated } from "../../kernel/errors.ts";
import { protocolOf } from "../protocol/content-type.ts";
import { encodeGrpcMessage } from "../protocol/grpc-status.ts";
import { requestPath } from "../protocol/request-path.ts";
import { type Request, type Response, sendText } from "./node-http.ts";
import type { Readiness } from "./services/readiness.ts";

/** Dependencies of the pages. */
export interface PagesOptions {
  /** The names of the services, for `/`. */
  serviceNames: readonly string[];
  readiness(): Promise<Readiness>;
  /** Returns the public signing keys (RFC 7517); absent: there are none. */
  jwks: (() => Promise<object>) | undefined;
}

/** Dependencies of the pages of probes. */
export interface HealthPagesOptions {
  readiness(): Promise<Readiness>;
  /** Handles requests that are for no page. */
  otherwise(request: Request, response: Response): void;
}

type Page = (response: Response) => unknown;

const JWKS_PATH = "/.well-known/jwks.json";
/**
 * Longest time that verifiers may cache the keys, in seconds. A new key signs immediately: a verifier that receives an
 * unknown one fetches again.
 */
const JWKS_MAX_AGE_SECONDS = 300;
/** Longest path in an error, in UTF-16 units; longer ones are truncated. */
const MAX_SHOWN_PATH_LENGTH = 100;

/** Creates the handler of requests that are not calls: the index, probes, signing keys, and errors for all others. */
export function createPages({
  serviceNames,
  readiness,
  jwks,
}: PagesOptions): (request: Request, response: Response) => void {
  const index = [
    "Cartwright serves gRPC, gRPC-Web and Connect:",
    ...serviceNames.map((name) => `  ${name}`),
    "Call a method with POST /<service>/<method>, or GET for reads. grpcurl and buf curl list them by reflection.",
    "GET /healthz or /livez: the process is alive. GET /readyz: it is ready to serve calls.",
    "",
  ].join("\n");
  const sendKeys = async (response: Response) => {
    try {
      const body = JSON.stringify(await jwks?.());
      response.setHeader("cache-control", `public, max-age=${JWKS_MAX_AGE_SECONDS}`);
      sendText(response, 200, "application/jwk-set+json", body);
    } catch {
      response.setHeader("cache-control", "no-store");
      sendText(response, 503, "text/plain", "Signing keys temporarily unavailable. Retry later.\n");
    }
  };
  const pages = new Map(healthPages(readiness)).set("/", (response) =>
    sendText(response, 200, "text/plain", index),
  );
  if (jwks !== undefined) pages.set(JWKS_PATH, sendKeys);
  return createPageHandler(pages, sendNotFound);
}

/** Creates the handler of the probes alone. */
export function createHealthPages({
  readiness,
  otherwise,
}: HealthPagesOptions): (request: Request, response: Response) => void {
  return createPageHandler(new Map(healthPages(readiness)), otherwise);
}

function healthPages(readiness: () => Promise<Readiness>): [string, Page][] {
  const sendAlive: Page = (response) => sendText(response, 200, "text/plain", "ok\n");
  const sendReadiness: Page = async (response) => {
    const result = await readiness();
    response.setHeader("cache-control", "no-store");
    sendText(response, result.ready ? 200 : 503, "application/json", `${JSON.stringify(result)}\n`);
  };
  return [
    ["/healthz", sendAlive],
    ["/livez", sendAlive],
    ["/readyz", sendReadiness],
  ];
}

function createPageHandler(
  pages: ReadonlyMap<string, Page>,
  otherwise: (request: Request, response: Response) => void,
): (request: Request, response: Response) => void {
  return (request, response) => {
    const isRead = request.method === "GET" || request.method === "HEAD";
    const page = isRead ? pages.get(requestPath(request.url ?? "")) : undefined;
    if (page === undefined) otherwise(request, response);
    else page(response);
  };
}

/** Sends the error of a request that is neither a call nor for a page. */
export function sendNotFound(request: Request, response: Response): void {
  const path = requestPath(request.url ?? "");
  const shown = truncated(path, MAX_SHOWN_PATH_LENGTH);
  const message = `Not found: ${shown}. GET / lists the services; call a method with POST /<service>/<method>.`;
  const type = request.headers["content-type"] ?? "";
  if (protocolOf(type) !== "connect") {
    // A response without messages carries the status in its headers ("Trailers-Only").
    response.setHeader("grpc-status", String(Code.Unimplemented));
    response.setHeader("grpc-message", encodeGrpcMessage(message));
    sendText(response, 200, type, "");
  } else if (/^application\/(json|proto|connect\+)/.test(type)) {
    const body = JSON.stringify({ code: "unimplemented", message });
    sendText(response, 404, "application/json", body);
  } else {
    sendText(response, 404, "text/plain", `${message}\n`);
  }
}
