import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { Code } from "@connectrpc/connect";
import type { Readiness } from "./readiness.ts";

/** A request and its answer, of either version of HTTP. */
export type Request = IncomingMessage | Http2ServerRequest;
export type Response = ServerResponse | Http2ServerResponse;

/** The path of a request, without its query. */
export function pathOf({ url = "" }: Request): string {
  const query = url.indexOf("?");
  return query === -1 ? url : url.slice(0, query);
}

/** Whether an answer goes out over HTTP/1.1. */
export function isHttp1(response: Response): response is ServerResponse {
  return !("stream" in response);
}

export interface PagesOptions {
  /** Names of the services, for people who look at `/`. */
  serviceNames: readonly string[];
  readiness(): Promise<Readiness>;
  /** The keys that access tokens are signed by (RFC 7517); absent: there are none. */
  jwks: (() => Promise<object>) | undefined;
}

/** Where the keys are that access tokens are signed by. */
const jwksPath = "/.well-known/jwks.json";
/** How long others may keep them: a new key signs at once, and whoever meets an unknown one asks again. */
const jwksMaxAgeSeconds = 300;

/** Answers what is no call: probes, a greeting, and a sentence for everything that is not here. */
export function createPages({ serviceNames, readiness, jwks }: PagesOptions) {
  const greeting = [
    "This is Cartwright. It answers gRPC, gRPC-Web and Connect calls to",
    ...serviceNames.map((name) => `  ${name}`),
    "at POST /<service>/<method>, with GET for reads. grpcurl and buf curl can list the methods by reflection.",
    "GET /healthz says whether the process lives, GET /readyz whether it can answer calls.",
    "",
  ].join("\n");
  const readyz = async (response: Response) => {
    const answer = await readiness();
    response.setHeader("cache-control", "no-store");
    send(response, answer.ready ? 200 : 503, "application/json", `${JSON.stringify(answer)}\n`);
  };
  const keys = async (response: Response) => {
    try {
      const body = JSON.stringify(await jwks?.());
      response.setHeader("cache-control", `public, max-age=${jwksMaxAgeSeconds}`);
      send(response, 200, "application/jwk-set+json", body);
    } catch {
      response.setHeader("cache-control", "no-store");
      send(response, 503, "text/plain", "The keys cannot be read at this moment. Try again.\n");
    }
  };
  const pages = new Map<string, (response: Response) => unknown>([
    ["/", (response) => send(response, 200, "text/plain", greeting)],
    ["/healthz", (response) => send(response, 200, "text/plain", "ok\n")],
    ["/readyz", readyz],
    ...(jwks === undefined ? [] : [[jwksPath, keys] as const]),
  ]);
  return (request: Request, response: Response): void => {
    const path = pathOf(request);
    const page = request.method === "GET" || request.method === "HEAD" ? pages.get(path) : undefined;
    if (page === undefined) sendNotFound(request, response, path);
    else page(response);
  };
}

function sendNotFound(request: Request, response: Response, path: string): void {
  const shown = path.length > 100 ? `${path.slice(0, 100)}...` : path;
  const sentence = `There is nothing at ${shown}. GET / lists the services; a method is at POST /<service>/<method>.`;
  const type = request.headers["content-type"] ?? "";
  if (type.startsWith("application/grpc")) {
    // gRPC tells errors in trailers, and this is their short form.
    response.setHeader("grpc-status", String(Code.Unimplemented));
    response.setHeader("grpc-message", encodeURI(sentence.toWellFormed()));
    send(response, 200, type, "");
  } else if (/^application\/(json|proto|connect\+)/.test(type)) {
    const body = JSON.stringify({ code: "unimplemented", message: sentence });
    send(response, 404, "application/json", body);
  } else {
    send(response, 404, "text/plain", `${sentence}\n`);
  }
}

/** Answers with a text and ends. */
export function send(response: Response, status: number, type: string, body: string): void {
  response.statusCode = status;
  response.setHeader("content-type", type.startsWith("text/") ? `${type}; charset=utf-8` : type);
  if (body === "") {
    // Even an empty text would part the headers from the end, and gRPC wants them as one.
    response.end();
    return;
  }
  response.setHeader("content-length", Buffer.byteLength(body));
  response.end(body);
}
