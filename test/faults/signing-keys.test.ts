import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { entities } from "../../src/entities.ts";
import { createSigningKeys } from "../../src/identity/signing-keys/signing-keys.ts";
import { type Database, openPostgres } from "../../src/infra/postgres/postgres.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { createSharedStores } from "../support/identity/identity-instance.ts";
import { silentLog } from "../support/log.ts";
import { type LogLine, recordingLog } from "../support/rpc/rpc-server.ts";
import { startTcpProxy } from "../support/stores/tcp-proxy.ts";

test("while the database is unavailable, the cached signing keys stay in use, and reads and warnings are limited to one a second", async () => {
  const stores = await createSharedStores();
  const url = new URL(stores.database.url);
  const proxy = await startTcpProxy(Number(url.port));
  url.port = String(proxy.port);
  const limits = { poolMax: 2, poolWaitMs: 500, statementTimeoutMs: 1_000 };
  const db = await openPostgres({ url: url.href, entities, log: silentLog, ...limits });
  let readCount = 0;
  const counted: Database = {
    ...db,
    read: (...statement) => {
      readCount += 1;
      return db.read(...statement);
    },
  };
  let nowMs = 0;
  const timer = {
    nowMs: () => nowMs,
    sleep: async (delayMs: number) => {
      nowMs += delayMs;
    },
  };
  const lines: LogLine[] = [];
  const file = join(stores.folder, "signing-keys.json");
  const log = recordingLog(lines);
  const keys = await createSigningKeys({ db: counted, clock: systemClock, file, log, timer });
  onTestFinished(async () => {
    await keys.close();
    await db.close();
    await proxy.close();
  });
  const expectKnownKeys = async () => {
    for (const jwks of await Promise.all(Array.from({ length: 50 }, keys.jwks))) {
      expect(jwks.keys).toHaveLength(1);
    }
  };
  await expectKnownKeys();
  await proxy.cut();
  // The keys are no longer fresh.
  nowMs += 61_000;
  readCount = 0;
  for (let second = 1; second <= 3; second += 1) {
    for (let round = 0; round < 5; round += 1) await expectKnownKeys();
    expect([readCount, lines.length]).toEqual([second, second]);
    nowMs += 1_000;
  }
  for (const line of lines) {
    expect(line).toMatchObject({ level: "warn", fields: { cause: expect.stringMatching(/ECONNREFUSED/) } });
  }
  // Unknown key ids are looked up at most once in 250 ms.
  const findUnknown = () => keys.find(randomBytes(32).toString("base64url")).catch(() => undefined);
  readCount = 0;
  const startedAtMs = nowMs;
  for (let round = 0; round < 4; round += 1) await Promise.all(Array.from({ length: 10 }, findUnknown));
  expect(readCount).toBeGreaterThan(0);
  expect(readCount).toBeLessThanOrEqual(1 + (nowMs - startedAtMs) / 250);
  await proxy.restore();
  await expect.poll(() => keys.find(keys.current().kid), { timeout: 30_000 }).toBeDefined();
});
