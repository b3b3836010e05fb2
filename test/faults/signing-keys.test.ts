import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { entities } from "../../src/entities.ts";
import { createSigningKeys } from "../../src/identity/signing-keys/signing-keys.ts";
import { type Database, openPostgres } from "../../src/infra/postgres/postgres.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { createSharedStores } from "../support/identity/identity-instance.ts";
import { silentLog } from "../support/log.ts";
import { type LogLine, recordingLog } from "../support/rpc-server.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

test("while the database is away the keys that are known go on, and it is asked, and that is told, once a second", async () => {
  const site = await createSharedStores();
  const url = new URL(site.database.url);
  const link = await startTcpProxy(Number(url.port));
  url.port = String(link.port);
  const limits = { poolMax: 2, poolWaitMs: 500, statementTimeoutMs: 1_000 };
  const db = await openPostgres({ url: url.href, entities, log: silentLog, ...limits });
  let asked = 0;
  const counted: Database = {
    ...db,
    read: (...question) => {
      asked += 1;
      return db.read(...question);
    },
  };
  const lines: LogLine[] = [];
  const file = join(site.folder, "signing-keys.json");
  const keys = await createSigningKeys({ db: counted, clock: systemClock, file, log: recordingLog(lines) });
  onTestFinished(async () => {
    vi.restoreAllMocks();
    await keys.close();
    await db.close();
    await link.close();
  });
  const { jwks } = keys;
  expect((await jwks()).keys).toHaveLength(1);
  await link.cut();
  // What is known gets old.
  const now = performance.now.bind(performance);
  vi.spyOn(performance, "now").mockImplementation(() => now() + 61_000);
  asked = 0;
  const startMs = now();
  for (let round = 0; round < 20; round += 1) {
    for (const { keys } of await Promise.all(Array.from({ length: 50 }, jwks))) expect(keys).toHaveLength(1);
  }
  const seconds = 1 + (now() - startMs) / 1_000;
  expect(asked).toBeLessThanOrEqual(seconds);
  expect(lines.length).toBeLessThanOrEqual(seconds);
  expect(lines).toMatchObject([{ level: "warn", fields: { cause: expect.stringMatching(/ECONNREFUSED/) } }]);
  // Names that nobody knows are asked for with pauses between, too.
  asked = 0;
  const unknownMs = now();
  const find = () => keys.find(randomBytes(32).toString("base64url")).catch(() => undefined);
  for (let round = 0; round < 4; round += 1) await Promise.all(Array.from({ length: 10 }, find));
  expect(asked).toBeLessThanOrEqual(1 + (now() - unknownMs) / 200);
  expect(lines.length).toBeLessThanOrEqual(1 + (now() - startMs) / 1_000);
  await link.mend();
  await expect.poll(find).toBeUndefined();
  await expect.poll(() => keys.find(keys.current().kid)).toBeDefined();
});
