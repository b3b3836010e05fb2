import type { Config } from "./config.ts";
import { entities } from "./entities.ts";
import { createFeatures } from "./features.ts";
import { openStores } from "./infra/embedded/stores.ts";
import { migrate } from "./infra/postgres/migrate.ts";
import { type Infrastructure, openInfrastructure, readReadiness } from "./infrastructure.ts";
import { type Clock, systemClock } from "./kernel/clock.ts";
import { StartupError } from "./kernel/errors.ts";
import type { Log } from "./kernel/log.ts";
import { createServer, type Server } from "./rpc/server/server.ts";
import { type BoundPort, bindPort } from "./rpc/server/startup/bind-port.ts";
import type { Running } from "./run-process.ts";
import { startWorker } from "./worker.ts";

/** A running worker without a service. */
export interface WorkerApp extends Running {
  /** The address for health checks, such as http://127.0.0.1:8080. */
  readonly url: string;
}

/** The time that running jobs have at shutdown, in milliseconds: less than the 30 s after which Kubernetes kills. */
const DRAIN_MS = 25_000;
/** The time that health checks in flight have, in milliseconds. */
const SERVER_GRACE_MS = 1_000;

/**
 * Starts a worker: connects to the stores of the service, migrates the schema, runs jobs and consumers of the outbox,
 * and serves health checks.
 * @throws StartupError for a mistake that the operator can correct
 */
export async function startWorkerApp(
  config: Config,
  log: Log,
  clock: Clock = systemClock,
): Promise<WorkerApp> {
  assertRunnable(config);
  const cleanups: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  };
  try {
    const boundPort = await bindPort({ ...config, log });
    cleanups.push(() => boundPort.close());
    const stores = await openStores(config, log);
    cleanups.push(() => stores.close());
    await migrate(stores.databaseUrl, entities, log);
    const infrastructure = await openInfrastructure(config, stores, { clock, log }, cleanups);
    const features = await createFeatures(config, {
      ...infrastructure,
      gateway: infrastructure.gateway?.gateway,
    });
    cleanups.push(async () => features.identity.close());
    const draining = new AbortController();
    const server = createHealthServer(config, boundPort, infrastructure, draining.signal);
    cleanups.push(() => server.close(SERVER_GRACE_MS));
    const stopWorker = await startWorker({ ...infrastructure, ...features });
    let drainMs = DRAIN_MS;
    cleanups.push(async () => {
      draining.abort();
      await Promise.all([stopWorker(), infrastructure.jobs.close(drainMs)]);
    });
    const { url } = await server.listen();
    return {
      url,
      failed: stores.failed,
      close: (graceMs = DRAIN_MS) => {
        drainMs = graceMs;
        return close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** @throws StartupError when this process would run nothing, or not on the stores of the service */
function assertRunnable({ workers, databaseUrl, redisUrl }: Config): void {
  if (workers === 0)
    throw new StartupError("WORKERS: a worker needs at least 1. Set it to 0 for servers only.");
  if (databaseUrl !== undefined && redisUrl !== undefined) return;
  throw new StartupError(
    "DATABASE_URL, REDIS_URL: a worker needs the stores of the service. Set both to the values of the servers.",
  );
}

/** Creates a server for health checks and reflection alone. It is not ready while the worker finishes its jobs. */
function createHealthServer(
  { host, port, tls, trustedProxies, maxCalls }: Config,
  boundPort: BoundPort,
  infrastructure: Infrastructure,
  draining: AbortSignal,
): Server {
  return createServer({
    host,
    port,
    boundPort,
    tls,
    corsOrigins: [],
    trustedProxies,
    maxCalls,
    services: [],
    routes: () => {},
    authenticate: undefined,
    rateLimiter: undefined,
    cache: undefined,
    // No response is cached; the least that is accepted.
    encodedBytes: 1,
    isReady: async () => {
      const readiness = await readReadiness(infrastructure);
      return draining.aborted ? { ...readiness, ready: false } : readiness;
    },
    log: infrastructure.log,
  });
}
