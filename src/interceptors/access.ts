import {
  type DescField,
  type DescMessage,
  type DescMethod,
  getOption,
  hasOption,
  type Message,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { Interceptor } from "@connectrpc/connect";
import {
  Access,
  field as fieldOption,
  Scope,
  ScopeSchema,
} from "../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Call } from "../kernel/call.ts";
import { AppError } from "../kernel/errors.ts";
import { anyone, denied, type Principal, type Role, signInRequired, system } from "../kernel/principal.ts";
import { type ActiveCall, callKey } from "./call.ts";

/**
 * Who shows this access token or API key. It answers at once for those that it knows.
 * @throws AppError unauthenticated for those that are not good, or no longer
 */
export type Authenticate = (credential: string, call: Call) => Principal | Promise<Principal>;

const RANK: Record<Role, number> = { CUSTOMER: 1, STAFF: 2, ADMIN: 3 };
const NEEDED: Partial<Record<Access, Role>> = {
  [Access.CUSTOMER]: "CUSTOMER",
  [Access.STAFF]: "STAFF",
  [Access.ADMIN]: "ADMIN",
};

/**
 * Says on whose behalf a call is made, from its Authorization header.
 * @param authenticate absent: everyone may do everything
 * @throws AppError unauthenticated for a header that is there and no good, whatever is called
 */
export function identify(
  authenticate: Authenticate | undefined,
  authorization: string | null,
  call: Call,
): Principal | Promise<Principal> {
  if (authenticate === undefined) return system;
  if (authorization === null) return anyone;
  const [, credential] = /^Bearer +([\w.~+/=-]{1,4096})$/i.exec(authorization) ?? [];
  if (credential === undefined) {
    throw new AppError("unauthenticated", "The header must read authorization: Bearer <token>.", {
      reason: "AUTHORIZATION_MALFORMED",
    });
  }
  return authenticate(credential, call);
}

/** Holds a caller to what a policy asks for. @throws AppError unauthenticated or permission_denied */
export function admit(principal: Principal, { access, scope }: { access: Access; scope: Scope }): void {
  const needed = NEEDED[access];
  if (principal.kind === "system" || needed === undefined) return;
  if (principal.kind === "anyone") throw signInRequired();
  if (principal.kind === "account") {
    if (RANK[principal.role] >= RANK[needed]) return;
    throw denied(`This is for ${needed === "ADMIN" ? "admins" : "staff"}.`, `${needed}_ONLY`);
  }
  if (scope === Scope.UNSPECIFIED) throw denied("This is not for API keys.", "PEOPLE_ONLY");
  const name = ScopeSchema.value[scope]?.localName ?? "";
  if (principal.scopes.has(name)) return;
  throw denied(`This API key lacks the scope SCOPE_${name}.`, "SCOPE_MISSING");
}

/** A field that not everyone may set. */
interface Guarded {
  field: DescField;
  policy: { access: Access; scope: Scope };
}

/** Holds the fields of requests to their policies. */
export function createAccessInterceptor(): Interceptor {
  const methods = new Map<DescMethod, readonly Guarded[]>();
  const guardedOf = (method: DescMethod): readonly Guarded[] => {
    const known = methods.get(method) ?? guardedFields(method.input);
    methods.set(method, known);
    return known;
  };
  async function* checked<T extends Message>(
    call: ActiveCall,
    guarded: readonly Guarded[],
    schema: DescMessage,
    messages: AsyncIterable<T>,
  ) {
    for await (const message of messages) {
      checkFields(call, guarded, schema, message);
      yield message;
    }
  }
  return (next) => (request) => {
    const call = request.contextValues.get(callKey);
    const guarded = guardedOf(request.method);
    const { input } = request.method;
    if (call === undefined || guarded.length === 0) return next(request);
    if (request.stream) return next({ ...request, message: checked(call, guarded, input, request.message) });
    checkFields(call, guarded, input, request.message);
    return next(request);
  };
}

function checkFields(
  call: ActiveCall,
  guarded: readonly Guarded[],
  schema: DescMessage,
  message: Message,
): void {
  const reflected = reflect(schema, message);
  for (const { field, policy } of guarded) {
    if (!reflected.isSet(field)) continue;
    try {
      admit(call.principal, policy);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const description = error.message;
      throw new AppError(error.code, `${field.name}: ${description}`, {
        ...error.details,
        fields: [{ field: field.name, description }],
      });
    }
    call.isPrivate = true;
  }
}

function guardedFields({ fields }: DescMessage): Guarded[] {
  return fields
    .filter((field) => hasOption(field, fieldOption))
    .map((field) => ({ field, policy: getOption(field, fieldOption) }));
}
