import { randomBytes } from "node:crypto";
import type { Identity } from "../../identity/identity.ts";
import { internalCall } from "../../kernel/call.ts";
import type { Role } from "../../kernel/principal.ts";

/** The accounts of the demo. */
export interface DemoAccounts {
  emails: readonly string[];
  /** Password of all accounts. It is shown once and stored as a hash. */
  password: string;
}

const ROLES: readonly [email: string, name: string, role: Role][] = [
  ["customer@example.com", "Charlie Customer", "CUSTOMER"],
  ["staff@example.com", "Sam Staff", "STAFF"],
  ["admin@example.com", "Alex Admin", "ADMIN"],
];

/**
 * Creates an account for each role, with one random password, in a shop without accounts.
 * @returns undefined when the shop has accounts
 */
export async function createDemoAccounts(
  identity: Pick<Identity, "createAccount" | "hasAccounts">,
): Promise<DemoAccounts | undefined> {
  if (await identity.hasAccounts(internalCall())) return undefined;
  const password = randomBytes(12).toString("base64url");
  for (const [email, name, role] of ROLES) {
    await identity.createAccount(internalCall(), { email, name, role, password });
  }
  return { emails: ROLES.map(([email]) => email), password };
}
