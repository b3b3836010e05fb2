import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { AppError } from "../../../src/kernel/errors.ts";
import { type CommitMoment, proxiedUrl, startCommitProxy } from "../stores/commit-proxy.ts";
import type { TestDatabase } from "../stores/database.ts";
import { endLeases, openExpiryWorker, setExpiry } from "./expiry-worker.ts";

/**
 * A worker besides those of the replicas, which a run of the model starts and kills. It runs in the process of the test:
 * when it is killed, its round is abandoned and its connections end. test/long/jobs.test.ts kills processes of workers.
 */
export interface ModelWorker {
  /** Lets the expire time of an order and the leases of killed workers pass, and does a round. */
  passExpireTime(orderId: string): Promise<void>;
  /** Kills the worker at the next COMMIT of an expiry, and calls `onKill`. */
  killAtCommit(moment: CommitMoment, onKill: () => void): void;
  /** Cancels a kill that has not occurred. */
  reset(): void;
  /** Does rounds until no expiry is due. @throws Error if there are still some after many rounds */
  completeExpiries(): Promise<void>;
}

/** Maximum number of rounds until all expiries are completed: the workers of the replicas hold locks meanwhile. */
const MAX_ROUNDS = 500;
const ROUND_DELAY_MS = 20;
/** Statements of the transactions of an expiry. */
const EXPIRY = /\border_expiry\b/;

/**
 * Creates a worker on a database. It connects when it is used for the first time in a test, and after a kill, and is
 * closed when the test is finished.
 */
export function createModelWorker(database: TestDatabase): ModelWorker {
  let process: ReturnType<typeof startWorker> | undefined;
  let nextKill: { moment: CommitMoment; onKill: () => void } | undefined;
  const runRound = async () => {
    process ??= startWorker(database, () => {
      process = undefined;
    });
    const { proxy, worker, killed, kill } = await process;
    if (nextKill !== undefined) {
      const { moment, onKill } = nextKill;
      const onInterrupt = () => {
        kill();
        onKill();
      };
      proxy.interrupt({ moment, statement: EXPIRY, onInterrupt });
      nextKill = undefined;
    }
    const round = worker.run().catch((error: unknown) => {
      // The connections were terminated. A later round goes on.
      if (!(error instanceof AppError && error.code === "unavailable")) throw error;
    });
    const isAlive = await Promise.race([round.then(() => true), killed.then(() => false)]);
    if (isAlive) return;
    process = undefined;
    await proxy.close();
  };
  return {
    async passExpireTime(orderId) {
      await setExpiry(database, "-1 hour", orderId);
      await endLeases(database);
      await runRound();
    },
    killAtCommit(moment, onKill) {
      nextKill = { moment, onKill };
    },
    reset() {
      nextKill = undefined;
      void process?.then(({ proxy }) => proxy.reset());
    },
    async completeExpiries() {
      for (let round = 0; await isAnyDue(database); round += 1) {
        if (round === MAX_ROUNDS) throw new Error(`expiries are still due after ${MAX_ROUNDS} rounds`);
        if (round > 0) await sleep(ROUND_DELAY_MS);
        await endLeases(database);
        await runRound();
      }
    },
  };
}

async function startWorker(database: TestDatabase, onClose: () => void) {
  const proxy = await startCommitProxy(Number(new URL(database.url).port));
  const worker = await openExpiryWorker(proxiedUrl(database.url, proxy));
  onTestFinished(() => {
    onClose();
    return proxy.close();
  });
  const { promise: killed, resolve: kill } = Promise.withResolvers<void>();
  return { proxy, worker, killed, kill };
}

async function isAnyDue(database: TestDatabase): Promise<boolean> {
  const due = await database.query(
    `select from orders
     where closing = 'EXPIRING' or (closing = 'NONE' and payment_state = 'UNPAID' and expires_at <= now()) limit 1`,
  );
  return due.length > 0;
}
