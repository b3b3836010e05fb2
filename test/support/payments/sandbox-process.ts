// Creates payments until it is killed: node sandbox-process.ts <database URL> <server URL>. Prints the id of each payment
// whose creation has a response, one a line.

import { entities } from "../../../src/entities.ts";
import { createSandbox, readWebhookSecrets } from "../../../src/infra/payment/sandbox/sandbox.ts";
import { openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { systemClock } from "../../../src/kernel/clock.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { silentLog } from "../log.ts";

const CALLERS = 16;
const [databaseUrl = "", serverUrl = ""] = process.argv.slice(2);
const db = await openPostgres({
  url: databaseUrl,
  entities,
  log: silentLog,
  poolMax: 8,
  poolWaitMs: 30_000,
  statementTimeoutMs: 30_000,
});
const ids = createIds();
const sandbox = createSandbox({
  db,
  ids,
  clock: systemClock,
  log: silentLog,
  secrets: await readWebhookSecrets(db, internalCall()),
  statementTimeoutMs: 30_000,
  waitMs: 30_000,
});
sandbox.deliverTo(serverUrl);
const limits = { signal: new AbortController().signal, timeoutMs: 60_000 };
await Promise.all(
  Array.from({ length: CALLERS }, async () => {
    for (;;) {
      const amount = { currencyCode: "EUR", minorUnits: 1_000n };
      const request = { paymentId: ids(), orderId: ids(), amount, methodToken: "sandbox_ok" };
      const { paymentId } = await sandbox.createIntent({ ...request, capture: "AT_ORDER" }, limits);
      process.stdout.write(`${paymentId}\n`);
    }
  }),
);
