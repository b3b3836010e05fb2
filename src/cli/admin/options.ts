import { parseArgs } from "node:util";
import { z } from "zod";
import { scopeNames } from "../../identity/identity.rpc.ts";
import { StartupError } from "../../kernel/errors.ts";
import type { Role } from "../../kernel/principal.ts";

const spelled = (name: string): string => name.toLowerCase().replaceAll("_", "-");

/** What the command is for. */
export const USAGE = `Usage: npm run admin -- COMMAND
  create-user --email EMAIL --role customer|staff|admin [--name NAME] [--password-stdin]
      An account for the customer with this email, who is made if there is none. The password is the first
      line of the input or, without --password-stdin, a random one.
  set-role --email EMAIL --role customer|staff|admin
      Another role for an account.
  set-password --email EMAIL [--password-stdin]
      Another password for an account, as above. All its sessions end.
  create-key --service NAME --scopes SCOPE,SCOPE [--days 90]
      An API key for another service, such as warehouse. Without --days it does not end by itself.
      Scopes: ${scopeNames.map(spelled).join(", ")}
  revoke-key --id ID
      Ends an API key.
  revoke-signing-key --id=KID
      Takes a key out of use by which access tokens are signed, and all tokens that it has signed, for ever. A shop
      that signs by it makes a new one within a minute or two, unless you made its file: put another key there first.

  A shop that runs knows of it within seconds. Every change is noted in the table audit_entry.
  It works on the database of DATABASE_URL, or the one in DATA_DIR, whether its shop runs or not. Passwords and
  secrets that it makes are shown once, alone on the standard output.`;

const ROLES = new Map<string, Role>([
  ["customer", "CUSTOMER"],
  ["staff", "STAFF"],
  ["admin", "ADMIN"],
]);
const MAX_DAYS = 3_650;
/** As the contract has it. */
const MAX_EMAIL = 254;
const MAX_NAME = 200;
/** RFC 7638's, by SHA-256: what signing keys are named by. */
const THUMBPRINT = /^[\w-]{43}$/;

/** What the command was told. */
export type Command =
  | { name: "create-user"; email: string; role: Role; called: string; passwordStdin: boolean }
  | { name: "set-role"; email: string; role: Role }
  | { name: "set-password"; email: string; passwordStdin: boolean }
  | { name: "create-key"; service: string; scopes: string[]; days: number | undefined }
  | { name: "revoke-key"; id: string }
  | { name: "revoke-signing-key"; id: string };

const OPTIONS = {
  email: { type: "string" },
  role: { type: "string" },
  name: { type: "string" },
  "password-stdin": { type: "boolean" },
  service: { type: "string" },
  scopes: { type: "string" },
  days: { type: "string" },
  id: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;
const ALLOWED = new Map([
  ["create-user", ["email", "role", "name", "password-stdin"]],
  ["set-role", ["email", "role"]],
  ["set-password", ["email", "password-stdin"]],
  ["create-key", ["service", "scopes", "days"]],
  ["revoke-key", ["id"]],
  ["revoke-signing-key", ["id"]],
]);

/** @throws StartError for what does not exist or cannot be; undefined: help is asked for */
export function readOptions(args: string[]): Command | undefined {
  try {
    const { values, positionals } = parseArgs({ args, allowPositionals: true, options: OPTIONS });
    if (values.help === true) return undefined;
    const [name = "", ...others] = positionals;
    const allowed = ALLOWED.get(name);
    if (allowed === undefined || others.length > 0) {
      throw new StartupError(`Name one command: ${[...ALLOWED.keys()].join(", ")}.`);
    }
    const stray = Object.keys(values).find((option) => !allowed.includes(option));
    if (stray !== undefined) throw new StartupError(`--${stray} is nothing that ${name} knows.`);
    return commandOf(name, values);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new StartupError(`${error.message}\n${USAGE}`);
  }
}

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>["values"];

function commandOf(name: string, values: Values): Command {
  if (name === "create-key") {
    const { service = "", days } = values;
    if (!/^[a-z][a-z0-9-]{1,62}$/.test(service)) {
      throw new StartupError(
        "--service must be 2 to 63 small letters, digits and hyphens, such as warehouse.",
      );
    }
    return { name, service, scopes: scopesOf(values.scopes ?? ""), days: daysOf(days) };
  }
  if (name === "revoke-key" || name === "revoke-signing-key") return { name, id: idOf(name, values.id) };
  const email = emailOf(values.email);
  const passwordStdin = values["password-stdin"] === true;
  if (name === "set-password") return { name, email, passwordStdin };
  const role = ROLES.get(values.role ?? "");
  if (role === undefined) throw new StartupError(`--role must be one of ${[...ROLES.keys()].join(", ")}.`);
  if (name === "set-role") return { name, email, role };
  const called = values.name ?? email.split("@")[0] ?? email;
  if (called === "" || called.length > MAX_NAME || called.includes("\0")) {
    throw new StartupError(`--name must have 1 to ${MAX_NAME} characters.`);
  }
  return { name: "create-user", email, role, called, passwordStdin };
}

function emailOf(text = ""): string {
  if (text.length <= MAX_EMAIL && z.email().safeParse(text).success) return text;
  throw new StartupError("--email must be an email address.");
}

function idOf(name: "revoke-key" | "revoke-signing-key", text = ""): string {
  if (name === "revoke-key") {
    if (z.uuid().safeParse(text).success) return text.toLowerCase();
    throw new StartupError("--id must be the id of an API key, as create-key and ListApiKeys say it.");
  }
  if (THUMBPRINT.test(text)) return text;
  throw new StartupError("--id must be the kid of a key in /.well-known/jwks.json, 43 characters.");
}

function scopesOf(text: string): string[] {
  const named = text
    .split(",")
    .map((scope) => scope.trim())
    .filter(Boolean);
  const unknown = named.find((scope) => !scopeNames.some((known) => spelled(known) === scope));
  if (named.length === 0 || unknown !== undefined) {
    throw new StartupError(`--scopes must be some of ${scopeNames.map(spelled).join(", ")}.`);
  }
  return scopeNames.filter((known) => named.includes(spelled(known)));
}

function daysOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const days = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (days >= 1 && days <= MAX_DAYS) return days;
  throw new StartupError(`--days must be a whole number from 1 to ${MAX_DAYS}, not "${text}".`);
}
