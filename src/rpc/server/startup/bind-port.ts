import { once } from "node:events";
import { isIPv6, type Server } from "node:net";
import { errorCode, errorMessage, StartupError } from "../../../kernel/errors.ts";
import type { Log } from "../../../kernel/log.ts";
import type { TlsFiles } from "../connections/listener.ts";
import { createStartupListener } from "./startup-listener.ts";

/** The address to listen on. */
export interface BindOptions {
  host: string;
  /** 0 selects any free port. */
  port: number;
  /** The environment variable of the host, for error messages. Defaults to HOST. */
  hostVariable?: string;
  /** The environment variable of the port. Defaults to PORT. */
  portVariable?: string;
  /** Absent: plaintext. */
  tls?: TlsFiles | undefined;
  log: Log;
}

/**
 * A port that is bound while the service starts. Until {@link BoundPort.serve} is called, requests get 503, and GET
 * of /healthz and /livez 200.
 */
export interface BoundPort {
  /** The bound port. */
  readonly port: number;
  /** The host as it is written in a URL. */
  readonly hostName: string;
  /** Gives new connections to a server that does not listen yet, which also closes the port when it is closed. */
  serve(server: Server): Promise<void>;
  /** Closes the port unless a server has it, and the connections of the start. */
  close(): Promise<void>;
}

/**
 * The connections that the kernel completes before the process accepts them. The kernel reduces it to its own limit,
 * 4,096 on Linux; the 511 of Node overflow in a burst of connections, which then wait a second for their next SYN.
 */
const BACKLOG = 4_096;

/**
 * Binds a port.
 * @throws StartupError that names the address, the cause and the variable to set, or for an unusable certificate
 */
export async function bindPort(options: BindOptions): Promise<BoundPort> {
  const { host, port } = options;
  const hostName = isIPv6(host) ? `[${host}]` : host;
  const startup = createStartupListener(options.tls, options.log);
  startup.server.listen({ host, port, backlog: BACKLOG });
  try {
    await once(startup.server, "listening");
  } catch (error) {
    throw new StartupError(`Cannot listen on ${hostName}:${port}: ${bindErrorText(error, options)}`);
  }
  const address = startup.server.address();
  if (address === null || typeof address === "string") {
    throw new StartupError(`${host} is not a network address.`);
  }
  return {
    port: address.port,
    hostName,
    async serve(server) {
      // The server takes over the listening socket itself, so that the port is never free in between.
      server.listen(startup.server, BACKLOG);
      await once(server, "listening");
      startup.closeSessions();
    },
    async close() {
      startup.server.close();
      startup.closeConnections();
    },
  };
}

/** Returns what prevents a server from listening, and the remedy. */
function bindErrorText(
  error: unknown,
  { host, port, hostVariable = "HOST", portVariable = "PORT" }: BindOptions,
): string {
  switch (errorCode(error)) {
    case "EADDRINUSE":
      return `the port is in use. Stop the process that has it (to find it: ${findHolderCommand(port)}), or set ${portVariable} to another port.`;
    case "EACCES":
      return `ports below 1024 need the privileges of root. Set ${portVariable} to a higher port.`;
    case "EADDRNOTAVAIL":
    case "EAFNOSUPPORT":
      return `${host} is not an address of this machine. Set ${hostVariable} to 127.0.0.1 for this machine only, or to 0.0.0.0 for all of its IPv4 addresses.`;
    case "ENOTFOUND":
      return `${host} is not the name of a host. Set ${hostVariable} to an address of this machine, such as 127.0.0.1.`;
    default:
      return `${errorMessage(error)}. Check ${hostVariable} and ${portVariable}.`;
  }
}

const findHolderCommand = (port: number): string =>
  process.platform === "linux" ? `ss -ltnp 'sport = :${port}'` : `lsof -nP -iTCP:${port} -sTCP:LISTEN`;
