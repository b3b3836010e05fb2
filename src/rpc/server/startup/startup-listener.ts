import { BlockList, type Server } from "node:net";
import type { Log } from "../../../kernel/log.ts";
import { HttpConnections } from "../connections/http-connections.ts";
import type { TlsFiles } from "../connections/listener.ts";
import { createRequestHandlers } from "../http-handlers.ts";
import { createHealthPages } from "../http-pages.ts";
import { isHttp1, type Request, type Response, sendText } from "../node-http.ts";
import { DEFAULT_SERVER_LIMITS, type ServerLimits } from "../server-limits.ts";

/** The server of a port while the service starts. */
export interface StartupListener {
  server: Server;
  /** Requests that callers send their next request on another connection. */
  closeSessions(): void;
  /** Closes all connections. */
  closeConnections(): void;
}

/** The limits of a server without calls. */
const LIMITS: ServerLimits = {
  ...DEFAULT_SERVER_LIMITS,
  maxConnections: 256,
  // One address may have them all: nothing is served yet.
  minConnectionShare: 256,
  firstByteMs: 5_000,
  headersMs: 5_000,
};
/** The value of Retry-After, in seconds. A start on existing data takes about this time. */
const RETRY_AFTER_SECONDS = 2;
/** The error of the Connect protocol. Clients of gRPC read the HTTP status. */
const STARTING = JSON.stringify({
  code: "unavailable",
  message: `The service is starting. Retry in ${RETRY_AFTER_SECONDS} seconds.`,
});

const handlePage = createHealthPages({
  readiness: async () => ({ ready: false, checks: { server: "starting" } }),
  otherwise: sendStarting,
});

/**
 * Creates a server that responds to the probes of a service that is not ready, and with 503 and Retry-After to all other
 * requests.
 * @throws StartupError for a certificate or key that cannot be used
 */
export function createStartupListener(tls: TlsFiles | undefined, log: Log): StartupListener {
  const connections = new HttpConnections({ trustedProxies: new BlockList(), limits: LIMITS, log });
  const { listener } = connections.createPort({
    tls,
    maxConnections: LIMITS.maxConnections,
    handlers: createRequestHandlers(handleRequest),
    reserve: undefined,
    refusesIndebted: true,
  });
  return {
    server: listener.server,
    closeSessions() {
      connections.closeSessions();
    },
    closeConnections() {
      listener.closePending();
      connections.closeAll();
    },
  };
}

function handleRequest(request: Request, response: Response): void {
  request.resume();
  if (isHttp1(response)) response.setHeader("connection", "close");
  handlePage(request, response);
}

function sendStarting(_request: Request, response: Response): void {
  response.setHeader("cache-control", "no-store");
  response.setHeader("retry-after", String(RETRY_AFTER_SECONDS));
  sendText(response, 503, "application/json", STARTING);
}
