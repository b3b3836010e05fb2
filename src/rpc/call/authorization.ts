import { Access, Scope, ScopeSchema } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { type Principal, permissionDenied, type Role, signInRequired } from "../../kernel/principal.ts";

const ROLE_RANK: Readonly<Record<Role, number>> = { CUSTOMER: 1, STAFF: 2, ADMIN: 3 };
const REQUIRED_ROLE: Readonly<Partial<Record<Access, Role>>> = {
  [Access.CUSTOMER]: "CUSTOMER",
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
 * Checks that a principal has the access that a policy requires.
 * @throws AppError unauthenticated or permission_denied
 */
export function authorize(principal: Principal, { access, scope }: AccessPolicy): void {
  const required = REQUIRED_ROLE[access];
  if (principal.kind === "system" || required === undefined) return;
  if (principal.kind === "anonymous") throw signInRequired();
  if (principal.kind === "account") {
    if (ROLE_RANK[principal.role] >= ROLE_RANK[required]) return;
    throw permissionDenied(`This requires the role ${required}.`, `${required}_ONLY`);
  }
  if (scope === Scope.UNSPECIFIED)
    throw permissionDenied("This cannot be done with an API key.", "PEOPLE_ONLY");
  const name = ScopeSchema.value[scope]?.localName ?? "";
  if (principal.scopes.has(name)) return;
  throw permissionDenied(`The API key lacks the scope SCOPE_${name}.`, "SCOPE_MISSING");
}
