import { randomBytes } from "node:crypto";
import { createCustomers } from "../../customer/customer.ts";
import { entities } from "../../entities.ts";
import { createAccountAdmin } from "../../identity/accounts/account-admin.ts";
import { createAccounts } from "../../identity/accounts/accounts.ts";
import { createPasswordHasher } from "../../identity/accounts/password-hasher.ts";
import { createApiKeys } from "../../identity/api-keys/api-keys.ts";
import { createRefreshTokenCodec } from "../../identity/sessions/refresh-token-codec.ts";
import { createSessions } from "../../identity/sessions/sessions.ts";
import { createJwksStore } from "../../identity/signing-keys/jwks-store.ts";
import { withAuditLog } from "../../infra/audit/audit.ts";
import { openJobs } from "../../infra/jobs/jobs.ts";
import {
  createInvalidationPublisher,
  withInvalidationOutbox,
} from "../../infra/outbox/invalidation-outbox.ts";
import { type Database, openPostgres } from "../../infra/postgres/postgres.ts";
import { getSharedSecret } from "../../infra/postgres/shared-secret.ts";
import { type Call, internalCall } from "../../kernel/call.ts";
import { type Clock, systemClock } from "../../kernel/clock.ts";
import { StartupError } from "../../kernel/errors.ts";
import { createIds, type Ids } from "../../kernel/ids.ts";
import type { Log } from "../../kernel/log.ts";
import { createPageTokens } from "../../kernel/page.ts";
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
  const isAsked = "passwordStdin" in command && command.passwordStdin;
  // Before connections are opened that whoever is slow to send it would hold.
  const password = isAsked ? await readPassword() : undefined;
  if (password !== undefined) assertPassword(password);
  const plain = await openPostgres({ url, entities, log, ...LIMITS });
  const jobs = await openJobs({ url, workers: 0, log });
  try {
    const room = { clock: systemClock, ids: createIds(systemClock) };
    // Shops that run are told by the job.
    const announcer = createInvalidationPublisher(jobs, { invalidate: async () => false });
    const db = withInvalidationOutbox(withAuditLog(plain, room), announcer);
    return await dispatch(command, { ...room, db }, password);
  } finally {
    await jobs.close();
    await plain.close();
  }
}

interface Room {
  db: Database;
  clock: Clock;
  ids: Ids;
}

async function dispatch(command: Command, room: Room, given: string | undefined): Promise<Outcome> {
  const call = noted(command);
  switch (command.name) {
    case "revoke-signing-key": {
      const { id } = command;
      const wasInUse = await createJwksStore(room).revoke(call, id);
      const before = wasInUse ? "" : " It was not in use before.";
      return { said: `Signing key ${id} is revoked, and all access tokens that it has signed.${before}` };
    }
    case "revoke-key": {
      const { id, serviceAccount } = await (await apiKeysOf(room)).revoke(call, command.id);
      return { said: `API key ${id} of ${serviceAccount} is revoked.` };
    }
    case "create-key":
      return createKey(call, room, command);
    default:
      return changeAccount(call, room, command, given);
  }
}

/** The call of the operator, and what is noted of it: none of the options is secret. */
function noted({ name, ...options }: Command): Call {
  const audit = { role: "OPERATOR", method: `admin ${name}`, request: JSON.stringify(options) };
  return { ...internalCall(), audit };
}

async function createKey(call: Call, room: Room, command: CommandOf<"create-key">): Promise<Outcome> {
  const { service: serviceAccount, scopes, days } = command;
  const expireTime = days === undefined ? undefined : new Date(room.clock.now().getTime() + days * DAY_MS);
  const apiKeys = await apiKeysOf(room);
  const { apiKey, secret } = await apiKeys.create(call, { serviceAccount, scopes, expireTime });
  const end = expireTime === undefined ? "until it is revoked" : `until ${expireTime.toISOString()}`;
  return { said: `API key ${apiKey.id} of ${serviceAccount} is good ${end}. Its secret:`, secret };
}

async function changeAccount(
  call: Call,
  room: Room,
  command: CommandOf<"create-user" | "set-role" | "set-password">,
  given: string | undefined,
): Promise<Outcome> {
  const tokens = await pageTokensOf(room);
  const customers = createCustomers({ ...room, tokens });
  const accounts = createAccounts({ ...room, customers });
  const { email } = command;
  if (command.name === "set-role") {
    const { id } = await accounts.setRole(call, email, command.role);
    return { said: `Account ${id} of ${email} has the role ${command.role} now.` };
  }
  const refreshTokens = createRefreshTokenCodec(
    await getSharedSecret(room.db, internalCall(), "refresh-token"),
  );
  const sessions = createSessions({ ...room, tokens, refreshTokens });
  const accountAdmin = createAccountAdmin({
    ...room,
    accounts,
    customers,
    passwordHasher: createPasswordHasher(),
    sessions,
  });
  const password = given ?? randomBytes(PASSWORD_BYTES).toString("base64url");
  const shown = (said: string): Outcome =>
    given === undefined ? { said: `${said} Its password:`, secret: password } : { said };
  if (command.name === "set-password") {
    const { id } = await accountAdmin.resetPassword(call, { email, password });
    return shown(`Account ${id} of ${email} has another password, and no session any more.`);
  }
  const { role, called: name } = command;
  const { id } = await accountAdmin.createAccount(call, { email, name, password, role });
  return shown(`Account ${id} of ${email} is made, with the role ${role}.`);
}

type CommandOf<Name extends Command["name"]> = Extract<Command, { name: Name }>;

const apiKeysOf = async (room: Room) => createApiKeys({ ...room, tokens: await pageTokensOf(room) });

const pageTokensOf = async ({ db, clock }: Room) =>
  createPageTokens(await getSharedSecret(db, internalCall(), "page-token"), clock);

/** As the contract has it: characters are code points. */
function assertPassword(password: string): void {
  const { length } = [...password];
  if (length >= CHARACTERS.min && length <= CHARACTERS.max && !password.includes("\0")) return;
  throw new StartupError(`A password has ${CHARACTERS.min} to ${CHARACTERS.max} characters.`);
}
