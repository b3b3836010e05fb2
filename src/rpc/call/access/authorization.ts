import { Access, Scope, ScopeSchema } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Call } from "../../../kernel/call.ts";
import { permissionDenied, type Role, signInRequired } from "../../../kernel/principal.ts";

const ROLE_RANK: Readonly<Record<Role, number>> = { CUSTOMER: 1, STAFF: 2, ADMIN: 3 };
/** The role that a signed-in caller needs. */
const REQUIRED_ROLE: Readonly<Partial<Record<Access, Role>>> = {
  [Access.CUSTOMER]: "CUSTOMER",
  [Access.GUEST]: "CUSTOMER",
  [Access.ORDER_TOKEN]: "CUSTOMER",
  [Access.STAFF]: "STAFF",
  [Access.ADMIN]: "ADMIN",
};

/** The access that a policy of a method or field requires. */
export interface AccessPolicy {
  readonly access: Access;
  /** The scope that an API key needs; unspecified: API keys have no access. */
  readonly scope: Scope;
}

/**
 * Checks that a caller has the access that a policy requires.
 * @throws AppError unauthenticated or permission_denied
 */
export type Authorize = (caller: Pick<Call, "principal" | "orderToken">, policy: AccessPolicy) => void;

/**
 * Creates the authorization.
 * @param guestCheckout whether anonymous callers may call methods with ACCESS_GUEST
 */
export function createAuthorize(guestCheckout: boolean): Authorize {
  /** Whether an anonymous caller has the access. The method verifies the order token, which belongs to one order. */
  const admitsAnonymous = (access: Access, orderToken: string): boolean =>
    access === Access.GUEST ? guestCheckout : access === Access.ORDER_TOKEN && orderToken !== "";
  return ({ principal, orderToken }, { access, scope }) => {
    const required = REQUIRED_ROLE[access];
    if (principal.kind === "system" || required === undefined) return;
    if (principal.kind === "anonymous") {
      if (admitsAnonymous(access, orderToken)) return;
      throw signInRequired();
    }
    if (principal.kind === "account") {
      if (ROLE_RANK[principal.role] >= ROLE_RANK[required]) return;
      throw permissionDenied(`This requires the role ${required}.`, `${required}_ONLY`);
    }
    if (scope === Scope.UNSPECIFIED)
      throw permissionDenied("This cannot be done with an API key.", "PEOPLE_ONLY");
    const name = ScopeSchema.value[scope]?.localName ?? "";
    if (principal.scopes.has(name)) return;
    throw permissionDenied(`The API key lacks the scope SCOPE_${name}.`, "SCOPE_MISSING");
  };
}
