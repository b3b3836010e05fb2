import type { ActiveCall } from "../active-call.ts";
import { type Authenticate, authenticateHeader } from "./authenticate-call.ts";
import type { Authorize } from "./authorization.ts";

/**
 * Authenticates the caller of a call again, because its credential may have been revoked or expired since. Calls
 * without a credential stay as they are.
 * @throws AppError unauthenticated or permission_denied
 */
export type Reauthenticate = (call: ActiveCall) => Promise<void>;

/**
 * Creates the repeated authentication.
 * @param authenticate absent: access control is off
 */
export function createReauthenticate(
  authenticate: Authenticate | undefined,
  authorize: Authorize,
): Reauthenticate {
  return async (call) => {
    const { policy, authorization } = call.setup;
    if (policy === undefined || authorization === undefined) return;
    call.setPrincipal(await authenticateHeader(authenticate, authorization));
    authorize(call, policy);
  };
}
