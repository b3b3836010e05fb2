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
} from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { AppError } from "../../kernel/errors.ts";
import {
  anonymous,
  malformedAuthorization,
  type Principal,
  permissionDenied,
  type Role,
  signInRequired,
  system,
} from "../../kernel/principal.ts";
import { type ActiveCall, callKey } from "../call/active-call.ts";

/**
 * Who shows this access token or API key. It answers at once for those that it knows.
 * @param beforeAsking called before the database is asked for something that may have been made up; may throw
 * @throws AppError unauthenticated for those that are not good, or no longer
 */
export type Authenticate = (credential: string, beforeAsking?: () => void) => Principal | Promise<Principal>;

const RANK: Record<Role, number> = { CUSTOMER: 1, STAFF: 2, ADMIN: 3 };
const NEEDED: Partial<Record<Access, Role>> = {
  [Access.CUSTOMER]: "CUSTOMER",
  [Access.STAFF]: "STAFF",
  [Access.ADMIN]: "ADMIN",
};

/** Names of schemes are the same in upper case (RFC 9110, 11.1). */
const SCHEME = "bearer ";
/** How long it is good what was found out about the caller of a call, milliseconds. */
const KNOWN_FOR_MS = 100;

/**
 * Says on whose behalf a call is made, from its Authorization header.
 * @param authenticate absent: everyone may do everything
 * @throws AppError unauthenticated for a header that is there and no good, whatever is called
 */
export function identify(
  authenticate: Authenticate | undefined,
  authorization: string | undefined,
  beforeAsking?: () => void,
): Principal | Promise<Principal> {
  if (authenticate === undefined) return system;
  if (authorization === undefined) return anonymous;
  if (authorization.slice(0, SCHEME.length).toLowerCase() !== SCHEME) throw malformedAuthorization();
  return authenticate(authorization.slice(SCHEME.length).trimStart(), beforeAsking);
}

/** Holds a caller to what a policy asks for. @throws AppError unauthenticated or permission_denied */
export function admit(principal: Principal, { access, scope }: { access: Access; scope: Scope }): void {
  const needed = NEEDED[access];
  if (principal.kind === "system" || needed === undefined) return;
  if (principal.kind === "anonymous") throw signInRequired();
  if (principal.kind === "account") {
    if (RANK[principal.role] >= RANK[needed]) return;
    throw permissionDenied(`This is for ${needed === "ADMIN" ? "admins" : "staff"}.`, `${needed}_ONLY`);
  }
  if (scope === Scope.UNSPECIFIED) throw permissionDenied("This is not for API keys.", "PEOPLE_ONLY");
  const name = ScopeSchema.value[scope]?.localName ?? "";
  if (principal.scopes.has(name)) return;
  throw permissionDenied(`This API key lacks the scope SCOPE_${name}.`, "SCOPE_MISSING");
}

/** A field that not everyone may set. */
interface Guarded {
  field: DescField;
  policy: { access: Access; scope: Scope };
}

/**
 * Holds the fields of requests to their policies, and callers to what they are by then: a body, and each message of a
 * stream, may come long after the headers that were looked at first.
 */
export function createAccessInterceptor(authenticate: Authenticate | undefined): Interceptor {
  const methods = new Map<DescMethod, readonly Guarded[]>();
  const guardedOf = (method: DescMethod): readonly Guarded[] => {
    const known = methods.get(method) ?? guardedFields(method.input);
    methods.set(method, known);
    return known;
  };
  const check = async (call: ActiveCall, method: DescMethod, message: Message) => {
    const { policy, authorization } = call.setup;
    const isOld = performance.now() - call.identifiedAtMs > KNOWN_FOR_MS;
    if (isOld && policy !== undefined && authorization !== undefined) {
      call.principal = await identify(authenticate, authorization);
      call.identifiedAtMs = performance.now();
      admit(call.principal, policy);
    }
    const guarded = guardedOf(method);
    if (guarded.length > 0) checkFields(call, guarded, method.input, message);
  };
  async function* checked<T extends Message>(
    messages: AsyncIterable<T>,
    check: (message: T) => Promise<void>,
  ) {
    for await (const message of messages) {
      await check(message);
      yield message;
    }
  }
  return (next) => async (request) => {
    const { method } = request;
    const call = request.contextValues.get(callKey);
    if (call === undefined) return next(request);
    if (request.stream) {
      const message = checked(request.message, (part) => check(call, method, part));
      return next({ ...request, message });
    }
    await check(call, method, request.message);
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
