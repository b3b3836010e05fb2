import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, inject, onTestFinished } from "vitest";
import { readConfig } from "../../../src/config.ts";
import { startWorkerApp } from "../../../src/worker-app.ts";
import { silentLog } from "../log.ts";
import { startProcess } from "../service-process.ts";
import { type Clients, clientsOf, longDeadline } from "../shop.ts";
import type { TestDatabase } from "../stores/database.ts";

/** A process of the service that a test kills while it waits for the lock of a table. */
export interface KillableService {
  clients: Clients;
  /** Kills the process with SIGKILL, and waits until its connections are closed. */
  kill(): Promise<void>;
}

/** Configuration of services that pay by the sandbox. */
export const SANDBOX_ENV: Readonly<Record<string, string>> = {
  PORT: "0",
  SEED_DEMO: "off",
  PAYMENT_GATEWAY: "sandbox",
  PAYMENT_CAPTURE: "order",
  // On a busy machine calls wait longer than the defaults allow.
  PAYMENT_TIMEOUT_MS: "30000",
  DB_POOL_WAIT_MS: "30000",
  DB_STATEMENT_TIMEOUT_MS: "30000",
};

/** Starts a process of the service on a database, which ends with the test. */
export async function startService(
  { url }: Pick<TestDatabase, "url">,
  env: Record<string, string> = {},
): Promise<KillableService> {
  const stores = { DATABASE_URL: url, REDIS_URL: inject("redisUrl") };
  const service = startProcess({ ...SANDBOX_ENV, ...stores, ...env });
  const kill = async () => {
    service.child.kill("SIGKILL");
    await service.exited;
  };
  onTestFinished(kill);
  const baseUrl = await service.listening;
  return { clients: clientsOf(createGrpcTransport({ baseUrl, interceptors: [longDeadline] })), kill };
}

/** Starts a worker in this process, which stops with the test. */
export async function startRepairingWorker({ url }: Pick<TestDatabase, "url">): Promise<void> {
  const stores = { DATABASE_URL: url, REDIS_URL: inject("redisUrl") };
  const worker = await startWorkerApp(readConfig({ ...SANDBOX_ENV, ...stores }), silentLog);
  onTestFinished(() => worker.close(1_000));
}

/** Locks a table against writes until `unlock`. Reads are not blocked. */
export async function lockTable({ query }: Pick<TestDatabase, "query">, table: string): Promise<void> {
  await query("begin");
  await query(`lock table ${table} in exclusive mode`);
}

/** Waits until another session waits for the lock of a table. */
export async function waitForBlocked({ query }: Pick<TestDatabase, "query">, table: string): Promise<void> {
  const blocked = () => query("select from pg_locks where relation = $1::regclass and not granted", [table]);
  await expect.poll(async () => (await blocked()).length, { timeout: 60_000 }).toBeGreaterThan(0);
}

/** Unlocks the table, once the sessions of a killed process have ended: a statement that waits must not be executed. */
export async function unlockTable({ query }: Pick<TestDatabase, "query">): Promise<void> {
  const waiting = () =>
    query(
      "select from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())",
    );
  await expect.poll(async () => (await waiting()).length, { timeout: 60_000 }).toBe(0);
  await query("commit");
}

/** Makes everything due that a killed process has left: checks of payments, webhooks, their deliveries and expiries. */
export async function endDelays({ query }: Pick<TestDatabase, "query">): Promise<void> {
  await query("update payment set check_at = now() where check_reason = 'DOUBT'");
  await query("update webhook_event set retry_at = now() where processed_at is null");
  await query("update sandbox_event set due_at = now()");
  await query("update order_expiry set retry_at = now()");
}
