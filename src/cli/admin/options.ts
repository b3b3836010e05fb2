import { parseArgs } from "node:util";
import { z } from "zod";
import { scopeNames } from "../../identity/identity.rpc.ts";
import { StartupError } from "../../kernel/errors.ts";
import type { Role } from "../../kernel/principal.ts";
import { readCommandName } from "./command-name.ts";
import { parseUuid } from "./parse-uuid.ts";
import { PAYMENTS_USAGE, type PaymentsCommand, readPaymentsCommand } from "./payments/payments-options.ts";

const optionSpelling = (name: string): string => name.toLowerCase().replaceAll("_", "-");

/** The usage text of `npm run admin`. */
export const USAGE = `Usage: npm run admin -- COMMAND
  create-user --email EMAIL --role customer|staff|admin [--name NAME] [--password-stdin]
      Creates an account for the customer with this email, and the customer if there is none. The password is
      the first line of standard input or, without --password-stdin, a random one.
  set-role --email EMAIL --role customer|staff|admin
      Changes the role of an account.
  set-password --email EMAIL [--password-stdin]
      Sets the password of an account, as above, and revokes all its sessions.
  create-key --service NAME --scopes SCOPE,SCOPE [--days 90]
      Creates an API key for another service, such as warehouse. Without --days it does not expire.
      Scopes: ${scopeNames.map(optionSpelling).join(", ")}
  revoke-key --id ID
      Revokes an API key.
  revoke-signing-key --id=KID
      Revokes a signing key and all access tokens that it has signed. A service that signs with it generates a new key
      within two minutes, unless you provided its key file: put another key there first.
  list-failed-jobs [--queue NAME]
      Lists the last 100 background jobs that have failed in their last attempt, with the reason.
  retry-job --id ID
      Puts a failed job back into its queue.
${PAYMENTS_USAGE}

  A running service applies a change within seconds. Every change is recorded in the table audit_entry.
  The command works on the database of DATABASE_URL, or on that of DATA_DIR, where the service may be running.
  Generated passwords and secrets are shown only once, alone on standard output. npm prints lines of its own there,
  except with --silent:
    KEY=$(npm run --silent admin -- create-key --service warehouse --scopes orders-read)`;

const ROLES = new Map<string, Role>([
  ["customer", "CUSTOMER"],
  ["staff", "STAFF"],
  ["admin", "ADMIN"],
]);
const MAX_DAYS = 3_650;
/** Maximum lengths in the contract, in characters. */
const MAX_EMAIL = 254;
const MAX_NAME = 200;
/** The id of a signing key: its SHA-256 thumbprint (RFC 7638) in base64url. */
const THUMBPRINT = /^[\w-]{43}$/;

/** A parsed command with its options. */
export type AdminCommand =
  | { name: "create-user"; email: string; role: Role; displayName: string; passwordStdin: boolean }
  | { name: "set-role"; email: string; role: Role }
  | { name: "set-password"; email: string; passwordStdin: boolean }
  | { name: "create-key"; service: string; scopes: string[]; days: number | undefined }
  | { name: "revoke-key"; id: string }
  | { name: "revoke-signing-key"; id: string }
  | { name: "list-failed-jobs"; queue: string }
  | { name: "retry-job"; id: string }
  | PaymentsCommand;

const OPTIONS = {
  email: { type: "string" },
  role: { type: "string" },
  name: { type: "string" },
  "password-stdin": { type: "boolean" },
  service: { type: "string" },
  scopes: { type: "string" },
  days: { type: "string" },
  id: { type: "string" },
  queue: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;
const ALLOWED: ReadonlyMap<string, readonly string[]> = new Map([
  ["create-user", ["email", "role", "name", "password-stdin"]],
  ["set-role", ["email", "role"]],
  ["set-password", ["email", "password-stdin"]],
  ["create-key", ["service", "scopes", "days"]],
  ["revoke-key", ["id"]],
  ["revoke-signing-key", ["id"]],
  ["list-failed-jobs", ["queue"]],
  ["retry-job", ["id"]],
  ["payments", []],
]);

/**
 * Reads a command and its options. Returns undefined when help is requested.
 * @throws StartupError for an unknown command or option, or a value out of range
 */
export function readAdminCommand(args: string[]): AdminCommand | undefined {
  const [first, ...following] = args;
  if (first === "payments") return readPaymentsCommand(following);
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: OPTIONS });
  if (values.help === true) return undefined;
  return parseCommand(readCommandName({ values, positionals }, ALLOWED), values);
}

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>["values"];

function parseCommand(name: string, values: Values): AdminCommand {
  if (name === "create-key") {
    const { service = "", days } = values;
    if (!/^[a-z][a-z0-9-]{1,62}$/.test(service)) {
      throw new StartupError(
        "--service must be 2 to 63 lower-case letters, digits and hyphens, such as warehouse.",
      );
    }
    return { name, service, scopes: parseScopes(values.scopes ?? ""), days: parseDays(days) };
  }
  if (name === "revoke-key" || name === "revoke-signing-key" || name === "retry-job") {
    return { name, id: parseId(name, values.id) };
  }
  if (name === "list-failed-jobs") return { name, queue: values.queue ?? "" };
  const email = parseEmail(values.email);
  const passwordStdin = values["password-stdin"] === true;
  if (name === "set-password") return { name, email, passwordStdin };
  const role = ROLES.get(values.role ?? "");
  if (role === undefined) throw new StartupError(`--role must be one of ${[...ROLES.keys()].join(", ")}.`);
  if (name === "set-role") return { name, email, role };
  const displayName = values.name ?? email.split("@")[0] ?? email;
  if (displayName === "" || displayName.length > MAX_NAME || displayName.includes("\0")) {
    throw new StartupError(`--name must have 1 to ${MAX_NAME} characters.`);
  }
  return { name: "create-user", email, role, displayName, passwordStdin };
}

function parseEmail(text = ""): string {
  if (text.length <= MAX_EMAIL && z.email().safeParse(text).success) return text;
  throw new StartupError("--email must be an email address.");
}

function parseId(name: "revoke-key" | "revoke-signing-key" | "retry-job", text = ""): string {
  if (name === "revoke-signing-key") {
    if (THUMBPRINT.test(text)) return text;
    throw new StartupError("--id must be the kid of a key in /.well-known/jwks.json, 43 characters.");
  }
  return parseUuid(
    text,
    name === "retry-job"
      ? "--id must be the id of a job, as printed by list-failed-jobs and ListFailedJobs."
      : "--id must be the id of an API key, as printed by create-key and ListApiKeys.",
  );
}

function parseScopes(text: string): string[] {
  const named = text
    .split(",")
    .map((scope) => scope.trim())
    .filter(Boolean);
  const unknown = named.find((scope) => !scopeNames.some((known) => optionSpelling(known) === scope));
  if (named.length === 0 || unknown !== undefined) {
    throw new StartupError(
      `--scopes must be a comma-separated list of ${scopeNames.map(optionSpelling).join(", ")}.`,
    );
  }
  return scopeNames.filter((known) => named.includes(optionSpelling(known)));
}

function parseDays(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const days = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (days >= 1 && days <= MAX_DAYS) return days;
  throw new StartupError(`--days must be a whole number from 1 to ${MAX_DAYS}, not "${text}".`);
}
