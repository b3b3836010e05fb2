import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { type FrontendMessage, readFrontendMessages } from "./postgres-messages.ts";

/**
 * The moment of a COMMIT: before it is forwarded, so that the transaction is rolled back; when it is forwarded, so that
 * PostgreSQL decides; or when its response has arrived, which is discarded, or forwarded later ("delayed").
 */
export type CommitMoment = "before" | "during" | "after" | "delayed";

/** The next COMMIT that the proxy interrupts. */
export interface Interruption {
  moment: CommitMoment;
  /** Matches a statement that the transaction must contain. Any transaction by default. */
  statement?: RegExp;
  /** Runs at that moment, before the connection is closed. */
  onInterrupt?: () => void;
  /** Awaited before a response is discarded or forwarded. */
  until?: Promise<unknown>;
}

/** A proxy in front of PostgreSQL that closes connections at their COMMIT. */
export interface CommitProxy {
  port: number;
  /** Interrupts the next COMMIT that matches. Several interruptions are used in their order. */
  interrupt(interruption: Interruption): void;
  /** Returns the number of COMMITs interrupted so far. */
  interruptions(): number;
  /** Discards the interruptions that no COMMIT has matched. */
  reset(): void;
  /** Leads new connections to another port; open ones stay. */
  redirect(port: number): void;
  /** Closes all connections and the listener. */
  close(): Promise<void>;
}

/** Listens on a free port of 127.0.0.1 and forwards to `targetPort` of 127.0.0.1. */
export async function startCommitProxy(targetPort: number): Promise<CommitProxy> {
  const sockets = new Set<Socket>();
  let waiting: Interruption[] = [];
  let count = 0;
  let currentPort = targetPort;
  const take = (statements: ReadonlySet<string>): Interruption | undefined => {
    const found = waiting.find(({ statement }) => matches(statement, statements));
    if (found === undefined) return undefined;
    waiting = waiting.filter((one) => one !== found);
    return found;
  };
  const onInterrupted = ({ onInterrupt }: Interruption) => {
    count += 1;
    onInterrupt?.();
  };
  const server = createServer((client) => {
    const target = connect(currentPort, "127.0.0.1");
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    }
    forward(client, target, take, onInterrupted);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: address !== null && typeof address === "object" ? address.port : 0,
    interrupt: (interruption) => void waiting.push(interruption),
    interruptions: () => count,
    reset: () => {
      waiting = [];
    },
    redirect: (port) => {
      currentPort = port;
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Returns the URL of a database with the port of a proxy. */
export function proxiedUrl(databaseUrl: string, { port }: Pick<CommitProxy, "port">): string {
  const url = new URL(databaseUrl);
  url.hostname = "127.0.0.1";
  url.port = String(port);
  return url.href;
}

function matches(statement: RegExp | undefined, statements: ReadonlySet<string>): boolean {
  return statement === undefined || [...statements].some((text) => statement.test(text));
}

/** Forwards the data of one connection in both directions, until a COMMIT of it is interrupted. */
function forward(
  client: Socket,
  target: Socket,
  take: (statements: ReadonlySet<string>) => Interruption | undefined,
  onInterrupted: (interruption: Interruption) => void,
): void {
  /** The texts of the statements since the last BEGIN. */
  const statements = new Set<string>();
  /** The interruption that waits for the response to the COMMIT. */
  let expected: Interruption | undefined;
  let response: Buffer = Buffer.alloc(0);
  let isComplete = false;
  const close = (interruption?: Interruption) => {
    if (interruption !== undefined) onInterrupted(interruption);
    client.destroy();
    target.destroy();
  };
  const commit = (bytes: Buffer, interruption: Interruption) => {
    if (interruption.moment === "before") close(interruption);
    else if (interruption.moment === "during") target.write(bytes, () => close(interruption));
    else {
      expected = interruption;
      target.write(bytes);
    }
  };
  const forwardMessage = ({ bytes, text }: FrontendMessage): boolean => {
    if (text !== undefined && /^\s*begin\b/i.test(text)) statements.clear();
    const interruption = text !== undefined && /^\s*commit\b/i.test(text) ? take(statements) : undefined;
    if (text !== undefined) statements.add(text);
    if (interruption === undefined) target.write(bytes);
    else commit(bytes, interruption);
    return interruption === undefined;
  };
  const messages = readFrontendMessages();
  client.on("data", (chunk: Buffer) => {
    for (const message of messages(chunk)) if (!forwardMessage(message)) return;
  });
  const handleResponse = async (interruption: Interruption) => {
    onInterrupted(interruption);
    await interruption.until;
    if (interruption.moment !== "delayed") return close();
    client.write(response);
    expected = undefined;
    response = Buffer.alloc(0);
    isComplete = false;
  };
  target.on("data", (chunk: Buffer) => {
    if (expected === undefined) return void client.write(chunk);
    response = Buffer.concat([response, chunk]);
    // The tag of CommandComplete. A COMMIT that failed has another one, and is interrupted at its end.
    if (isComplete || !(response.includes("COMMIT\0") || response.includes("ROLLBACK\0"))) return;
    isComplete = true;
    void handleResponse(expected);
  });
  client.on("close", () => target.destroy());
  target.on("close", () => client.destroy());
}
