import { createGrpcTransport } from "@connectrpc/connect-node";
import { type ServiceProcess, startProcess } from "../service-process.ts";
import { type Clients, clientsOf, longDeadline } from "../shop.ts";
import { type CommitProxy, proxiedUrl, startCommitProxy } from "../stores/commit-proxy.ts";

/** Consecutive processes that may end before they listen: a fault can occur while one starts. */
const MAX_FAILED_STARTS = 5;

/** A replica of the service: a process that is started again when it ends. The proxy is before its database. */
export interface ServiceReplica {
  readonly proxy: CommitProxy;
  readonly isUp: boolean;
  /** The process that runs now. */
  readonly service: ServiceProcess;
  /** Resolves with clients when the replica is up. */
  clients(): Promise<Clients>;
  /** Kills the process with SIGKILL. */
  kill(): void;
  /** Kills the process permanently and closes the proxy. */
  close(): Promise<void>;
}

/**
 * Starts a replica.
 * @param databaseUrl address of the database, without the proxy
 * @param env further configuration, such as `REDIS_URL`
 */
export async function startReplica(
  databaseUrl: string,
  env: Record<string, string>,
): Promise<ServiceReplica> {
  const proxy = await startCommitProxy(Number(new URL(databaseUrl).port));
  const settings = {
    PORT: "0",
    SEED_DEMO: "off",
    DATABASE_URL: proxiedUrl(databaseUrl, proxy),
    // On a busy machine calls wait longer than the defaults allow.
    DB_POOL_WAIT_MS: "30000",
    DB_STATEMENT_TIMEOUT_MS: "30000",
    ...env,
  };
  let service = startProcess(settings);
  let up = Promise.withResolvers<Clients>();
  let isUp = false;
  let isClosed = false;
  let failedStarts = 0;
  const supervise = () => {
    const started = service;
    started.listening.then(
      (baseUrl) => {
        failedStarts = 0;
        isUp = started.child.exitCode === null && started.child.signalCode === null;
        up.resolve(clientsOf(createGrpcTransport({ baseUrl, interceptors: [longDeadline] })));
      },
      (error: unknown) => {
        failedStarts += 1;
        if (failedStarts === MAX_FAILED_STARTS) up.reject(error);
      },
    );
    void started.exited.then(() => {
      markDown();
      if (isClosed || failedStarts >= MAX_FAILED_STARTS) return;
      service = startProcess(settings);
      supervise();
    });
  };
  const markDown = () => {
    if (isUp) up = Promise.withResolvers();
    isUp = false;
  };
  supervise();
  return {
    proxy,
    get isUp() {
      return isUp;
    },
    get service() {
      return service;
    },
    clients: () => up.promise,
    kill() {
      markDown();
      service.child.kill("SIGKILL");
    },
    async close() {
      isClosed = true;
      service.child.kill("SIGKILL");
      await service.exited;
      await proxy.close();
    },
  };
}

/** Returns the clients of a replica that is up, if possible of the one with this index. */
export function clientsAt(replicas: readonly ServiceReplica[], index: number): Promise<Clients> {
  const preferred = replicas[index];
  const available = preferred?.isUp === true ? preferred : replicas.find(({ isUp }) => isUp);
  const replica = available ?? preferred;
  if (replica === undefined) throw new Error(`there is no replica ${index}`);
  return replica.clients();
}
