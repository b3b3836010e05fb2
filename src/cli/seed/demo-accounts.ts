import { randomBytes } from "node:crypto";
import type { Identity } from "../../identity/identity.ts";
import { internalCall } from "../../kernel/call.ts";
import type { Role } from "../../kernel/principal.ts";

/** Accounts to try the demo with. */
export interface DemoAccounts {
  emails: readonly string[];
  /** Of all of them. It is shown once, and kept as a hash only. */
  password: string;
}

const ROLES: readonly [email: string, name: string, role: Role][] = [
  ["customer@example.com", "Charlie Customer", "CUSTOMER"],
  ["staff@example.com", "Sam Staff", "STAFF"],
  ["admin@example.com", "Alex Admin", "ADMIN"],
];

/**
 * Makes an account of each role, with a password that is made up anew, for a shop that has no account.
 * @returns undefined when it has one
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
