import { randomBytes } from "node:crypto";
import { access } from "node:fs/promises";
import { join } from "node:path";
import type { Identity } from "../../identity/identity.ts";
import { createDataDir } from "../../infra/embedded/data-dir.ts";
import { writePrivateFile } from "../../infra/embedded/files.ts";
import { internalCall } from "../../kernel/call.ts";
import type { Role } from "../../kernel/principal.ts";

/** The accounts of the demo. */
export interface DemoAccounts {
  emails: readonly string[];
  /** Password of all accounts, when this start created them. The database has its hash only. It is never logged. */
  password: string | undefined;
  /** The file with the password of the first start, which only its owner may read; undefined when it is deleted. */
  passwordFile: string | undefined;
}

const ROLES: readonly [email: string, name: string, role: Role][] = [
  ["customer@example.com", "Charlie Customer", "CUSTOMER"],
  ["staff@example.com", "Sam Staff", "STAFF"],
  ["admin@example.com", "Alex Admin", "ADMIN"],
];

/**
 * Creates an account for each role, with one random password, in a shop without accounts. Writes the password to the
 * file `demo-password` in the data folder first.
 * @returns the demo accounts that exist; undefined when there are none
 * @throws StartupError when the data folder cannot be created
 */
export async function ensureDemoAccounts(
  identity: Pick<Identity, "createAccount" | "hasAccount" | "hasAccounts">,
  dataDir: string,
): Promise<DemoAccounts | undefined> {
  const file = join(dataDir, "demo-password");
  if (await identity.hasAccounts(internalCall())) return findDemoAccounts(identity, file);
  const password = randomBytes(12).toString("base64url");
  await createDataDir(dataDir);
  await writePrivateFile(file, `${password}\n`);
  for (const [email, name, role] of ROLES) {
    await identity.createAccount(internalCall(), { email, name, role, password });
  }
  return { emails: ROLES.map(([email]) => email), password, passwordFile: file };
}

async function findDemoAccounts(
  identity: Pick<Identity, "hasAccount">,
  file: string,
): Promise<DemoAccounts | undefined> {
  const emails: string[] = [];
  for (const [email] of ROLES) if (await identity.hasAccount(internalCall(), email)) emails.push(email);
  if (emails.length === 0) return undefined;
  const hasFile = await access(file).then(
    () => true,
    () => false,
  );
  return { emails, password: undefined, passwordFile: hasFile ? file : undefined };
}
