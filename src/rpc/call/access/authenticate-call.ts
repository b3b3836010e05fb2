import { anonymous, malformedAuthorization, type Principal, system } from "../../../kernel/principal.ts";

/**
 * Returns the principal of an access token or API key; synchronously when it is cached.
 * @param beforeLookup called before the database is queried for a credential that may be forged; may throw
 * @throws AppError unauthenticated for a credential that is wrong, expired or revoked
 */
export type Authenticate = (credential: string, beforeLookup?: () => void) => Principal | Promise<Principal>;

/** Names of schemes are case-insensitive (RFC 9110, 11.1). */
const SCHEME = "bearer ";

/**
 * Returns the principal of a call by its Authorization header.
 * @param authenticate absent: access control is off, and every caller is `system`
 * @throws AppError unauthenticated for a header that is present and not valid, whatever the method
 */
export function authenticateHeader(
  authenticate: Authenticate | undefined,
  authorization: string | undefined,
  beforeLookup?: () => void,
): Principal | Promise<Principal> {
  if (authenticate === undefined) return system;
  if (authorization === undefined) return anonymous;
  if (authorization.slice(0, SCHEME.length).toLowerCase() !== SCHEME) throw malformedAuthorization();
  return authenticate(authorization.slice(SCHEME.length).trimStart(), beforeLookup);
}
