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
import { createFailedJobs, type FailedJobs } from "../../infra/jobs/failed-jobs.ts";
import { withInvalidationOutbox } from "../../infra/outbox/invalidation/invalidation-outbox.ts";
import { withOutbox } from "../../infra/outbox/outbox.ts";
import { type Database, openPostgres } from "../../infra/postgres/postgres.ts";
import { getSharedSecret } from "../../infra/postgres/secret/shared-secret.ts";
import { type Call, internalCall } from "../../kernel/call.ts";
import { type Clock, systemClock } from "../../kernel/clock.ts";
import { DAY_MS } from "../../kernel/durations.ts";
import { StartupError } from "../../kernel/errors.ts";
import { createIds, type Ids } from "../../kernel/ids.ts";
import type { Log } from "../../kernel/log.ts";
import { createPageTokens } from "../../kernel/page.ts";
import type { AdminResult } from "./admin-result.ts";
import { listFailedJobs } from "./list-failed-jobs.ts";
import type { AdminCommand } from "./options.ts";
import { runPaymentsCommand } from "./payments/run-payments-command.ts";

const PASSWORD_BYTES = 18;
/** The bounds of a password in the contract, in code points. */
const PASSWORD_LENGTH = { min: 8, max: 256 };
const POOL = { poolMax: 2, poolWaitMs: 5_000, statementTimeoutMs: 10_000 };

/**
 * Runs a command on a migrated database.
 * @param readPassword reads the first line of standard input
 * @throws StartupError or AppError whose message states the remedy
 */
export async function runAdminCommand(
  command: AdminCommand,
  url: string,
  log: Log,
  readPassword: () => Promise<string>,
): Promise<AdminResult> {
  const fromInput = "passwordStdin" in command && command.passwordStdin;
  // Read before connections are opened: the input may be slow.
  const password = fromInput ? await readPassword() : undefined;
  if (password !== undefined) assertPassword(password);
  const connections = await openPostgres({ url, entities, log, ...POOL });
  try {
    const clock = systemClock;
    const ids = createIds(clock);
    // Running replicas invalidate their caches by the consumer of the outbox.
    const publisher = {
      invalidate: async () => false,
      invalidateThrottled: () => {},
      ensureInvalidated: async () => false,
    };
    const outbox = withOutbox(withAuditLog(connections, { clock, ids }), { notify: () => {} });
    const db = withInvalidationOutbox(outbox, publisher);
    return await dispatch(command, { db, clock, ids, log, url }, password);
  } finally {
    await connections.close();
  }
}

interface Context {
  db: Database;
  clock: Clock;
  ids: Ids;
  log: Log;
  /** Address of the database. */
  url: string;
}

async function dispatch(
  command: AdminCommand,
  context: Context,
  password: string | undefined,
): Promise<AdminResult> {
  const call = auditedCall(command);
  switch (command.name) {
    case "revoke-signing-key": {
      const { id } = command;
      const wasInUse = await createJwksStore(context).revoke(call, id);
      const hint = wasInUse ? "" : " It was not in use.";
      return { message: `Revoked signing key ${id} and all access tokens that it has signed.${hint}` };
    }
    case "revoke-key": {
      const { id, serviceAccount } = await (await openApiKeys(context)).revoke(call, command.id);
      return { message: `Revoked API key ${id} of ${serviceAccount}.` };
    }
    case "create-key":
      return createKey(call, context, command);
    case "list-failed-jobs":
      return listFailedJobs(await openFailedJobs(context), command.queue);
    case "retry-job":
      await (await openFailedJobs(context)).retry(call, command.id);
      return { message: `Put job ${command.id} back into its queue.` };
    case "payments list":
    case "payments discrepancies":
    case "payments resolve":
    case "payments check":
    case "payments refund":
      return runPaymentsCommand(call, { ...context, tokens: await openPageTokens(context) }, command);
    default:
      return changeAccount(call, context, command, password);
  }
}

/** Returns the call of an operator with its audit record: no option is secret. */
function auditedCall({ name, ...options }: AdminCommand): Call {
  const audit = { role: "OPERATOR", method: `admin ${name}`, request: JSON.stringify(options) };
  return { ...internalCall(), audit };
}

async function createKey(
  call: Call,
  context: Context,
  command: CommandOf<"create-key">,
): Promise<AdminResult> {
  const { service: serviceAccount, scopes, days } = command;
  const expireTime = days === undefined ? undefined : new Date(context.clock.now().getTime() + days * DAY_MS);
  const apiKeys = await openApiKeys(context);
  const { apiKey, secret } = await apiKeys.create(call, { serviceAccount, scopes, expireTime });
  const end = expireTime === undefined ? "until it is revoked" : `until ${expireTime.toISOString()}`;
  return {
    message: `Created API key ${apiKey.id} of ${serviceAccount}, valid ${end}. Its secret:`,
    output: secret,
  };
}

async function changeAccount(
  call: Call,
  context: Context,
  command: CommandOf<"create-user" | "set-role" | "set-password">,
  givenPassword: string | undefined,
): Promise<AdminResult> {
  const tokens = await openPageTokens(context);
  const customers = createCustomers({ ...context, tokens });
  const accounts = createAccounts({ ...context, customers });
  const { email } = command;
  if (command.name === "set-role") {
    const { id } = await accounts.setRole(call, email, command.role);
    return { message: `Account ${id} of ${email} now has the role ${command.role}.` };
  }
  const refreshTokens = createRefreshTokenCodec(
    await getSharedSecret(context.db, internalCall(), "refresh-token"),
  );
  const sessions = createSessions({ ...context, tokens, refreshTokens });
  const accountAdmin = createAccountAdmin({
    ...context,
    accounts,
    customers,
    passwordHasher: createPasswordHasher(),
    sessions,
  });
  const password = givenPassword ?? randomBytes(PASSWORD_BYTES).toString("base64url");
  const resultOf = (message: string): AdminResult =>
    givenPassword === undefined ? { message: `${message} Its password:`, output: password } : { message };
  if (command.name === "set-password") {
    const { id } = await accountAdmin.setPassword(call, { email, password });
    return resultOf(`Set the password of account ${id} of ${email} and revoked its sessions.`);
  }
  const { role, displayName: name } = command;
  const { id } = await accountAdmin.createAccount(call, { email, name, password, role });
  return resultOf(`Created account ${id} of ${email} with the role ${role}.`);
}

type CommandOf<Name extends AdminCommand["name"]> = Extract<AdminCommand, { name: Name }>;

const openApiKeys = async (context: Context) =>
  createApiKeys({ ...context, tokens: await openPageTokens(context) });

const openFailedJobs = async (context: Context): Promise<FailedJobs> =>
  createFailedJobs({ ...context, tokens: await openPageTokens(context) });

const openPageTokens = async ({ db, clock }: Context) =>
  createPageTokens(await getSharedSecret(db, internalCall(), "page-token"), clock);

function assertPassword(password: string): void {
  const { length } = [...password];
  if (length >= PASSWORD_LENGTH.min && length <= PASSWORD_LENGTH.max && !password.includes("\0")) return;
  throw new StartupError(
    `The password must have ${PASSWORD_LENGTH.min} to ${PASSWORD_LENGTH.max} characters.`,
  );
}
