import { AppError } from "../../../src/kernel/errors.ts";
import type { Principal, Role } from "../../../src/kernel/principal.ts";
import type { Authenticate } from "../../../src/rpc/call/access/authenticate-call.ts";

const account = (accountId: string, role: Role): Principal => ({
  kind: "account",
  accountId,
  customerId: "c",
  role,
  sessionId: "s",
});

/** Authenticates tokens that name their principal: `account-7`, `staff-7`, `service-7`. */
export const authenticateByName: Authenticate = (credential) => {
  const [kind, id = ""] = credential.split("-");
  if (kind === "account") return account(id, "CUSTOMER");
  if (kind === "staff") return account(id, "STAFF");
  if (kind === "service") {
    return { kind: "service", keyId: id, serviceAccount: "warehouse", scopes: new Set() };
  }
  throw invalidToken();
};

export const invalidToken = (): AppError =>
  new AppError("unauthenticated", "The token is invalid.", { reason: "TOKEN_INVALID" });
