import { entities } from "../../entities.ts";
import { createLog } from "../../infra/log.ts";
import { openPostgres } from "../../infra/postgres/postgres.ts";
import { internalCall } from "../../kernel/call.ts";
import { type Verification, verifyInvariants } from "../../operations/operations.ts";
import { runCommand } from "../run-command.ts";
import { withCurrentDatabase } from "../with-database.ts";
import { formatVerification } from "./format-verification.ts";
import { readOptions, USAGE, type VerifyOptions } from "./options.ts";

const log = createLog("warn", process.stderr);
const POOL = { poolMax: 1, poolWaitMs: 5_000, statementTimeoutMs: 10_000 };

async function verify({ maxBreaches }: VerifyOptions): Promise<void> {
  const verification = await withCurrentDatabase(log, (url) => verifyDatabase(url, maxBreaches));
  process.stdout.write(`${formatVerification(verification)}\n`);
  if (verification.checks.some(({ breachCount }) => breachCount > 0n)) process.exitCode = 1;
}

async function verifyDatabase(url: string, maxBreaches: number): Promise<Verification> {
  const db = await openPostgres({ url, entities, log, ...POOL });
  try {
    return await verifyInvariants(db, internalCall(), maxBreaches);
  } finally {
    await db.close();
  }
}

await runCommand({ name: "verify", usage: USAGE, readOptions, run: verify });
