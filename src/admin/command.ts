import { randomBytes } from "node:crypto";
import { createCustomers } from "../customer/customer.ts";
import { createAccounts } from "../identity/account.ts";
import { createApiKeys } from "../identity/api-key.ts";
import { createOperator } from "../identity/operator.ts";
import { createPasswords } from "../identity/password.ts";
import { announcing, createAnnouncer } from "../infra/announce.ts";
import { openJobs } from "../infra/jobs.ts";
import { type Database, openPostgres } from "../infra/postgres.ts";
import { sharedSecret } from "../infra/secrets.ts";
import { internalCall } from "../kernel/call.ts";
import { createIds, systemClock } from "../kernel/clock.ts";
import { StartError } from "../kernel/errors.ts";
import type { Log } from "../kernel/log.ts";
import { createPageTokens } from "../kernel/page.ts";
import { entities } from "../schema.ts";
import type { Command } from "./options.ts";

/** What came of a command: a sentence, and what is shown once. */
export interface Outcome {
  said: string;
  secret?: string;
}

const DAY_MS = 24 * 3_600_000;
const PASSWORD_BYTES = 18;
const CHARACTERS = { min: 8, max: 256 };
const LIMITS = { poolMax: 2, poolWaitMs: 5_000, statementTimeoutMs: 10_000 };

/**
 * Does what a command asks for, on a database whose schema is up to date.
 * @param readPassword the first line of the input
 * @throws StartError or AppError with a sentence that says what to do
 */
export async function perform(
  command: Command,
  url: string,
  log: Log,
  readPassword: () => Promise<string>,
): Promise<Outcome> {
  // Before connections are opened that somebody who types slowly would hold.
  const password = command.name === "create-user" && command.passwordStdin ? await readPassword() : undefined;
  if (password !== undefined) assertPassword(password);
  const plain = await openPostgres({ url, entities, log, ...LIMITS });
  const jobs = await openJobs({ url, workers: 0, log });
  try {
    // Shops that run are told by the job.
    const db = announcing(plain, createAnnouncer(jobs, { invalidate: async () => false }));
    return await dispatch(command, db, password);
  } finally {
    await jobs.close();
    await plain.close();
  }
}

async function dispatch(command: Command, db: Database, given: string | undefined): Promise<Outcome> {
  const call = internalCall();
  const clock = systemClock;
  const tokens = createPageTokens(await sharedSecret(db, call, "page-token"), clock);
  const room = { db, clock, tokens, ids: createIds(clock) };
  if (command.name === "create-key") {
    const { service: serviceAccount, scopes, days } = command;
    const expireTime = days === undefined ? undefined : new Date(clock.now().getTime() + days * DAY_MS);
    const { apiKey, secret } = await createApiKeys(room).create(call, { serviceAccount, scopes, expireTime });
    const end = expireTime === undefined ? "until it is revoked" : `until ${expireTime.toISOString()}`;
    return { said: `API key ${apiKey.id} of ${serviceAccount} is good ${end}. Its secret:`, secret };
  }
  const customers = createCustomers(room);
  const accounts = createAccounts({ ...room, customers });
  const { email, role } = command;
  if (command.name === "set-role") {
    const { id } = await accounts.setRole(call, email, role);
    return { said: `Account ${id} of ${email} has the role ${role} now.` };
  }
  const password = given ?? randomBytes(PASSWORD_BYTES).toString("base64url");
  const operator = createOperator({ db, accounts, customers, passwords: createPasswords() });
  const { id } = await operator.createUser(call, { email, name: command.called, password, role });
  const said = `Account ${id} of ${email} is made, with the role ${role}.`;
  return given === undefined ? { said: `${said} Its password:`, secret: password } : { said };
}

/** As the contract has it: characters are code points. */
function assertPassword(password: string): void {
  const { length } = [...password];
  if (length >= CHARACTERS.min && length <= CHARACTERS.max && !password.includes("\0")) return;
  throw new StartError(`A password has ${CHARACTERS.min} to ${CHARACTERS.max} characters.`);
}
