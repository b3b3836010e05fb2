import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Tokens } from "../../gen/cartwright/identity/v1/identity_pb.ts";
import type { StoredTokens } from "./token-store.ts";

/** Time before its expiry at which an access token is replaced, in milliseconds: longer than a deadline and clock skew. */
const REFRESH_MARGIN_MS = 60_000;
/** Minimum time between a failed refresh and the next one, in milliseconds. */
const RETRY_DELAY_MS = 5_000;
/**
 * Remaining life of the access token at which a failed refresh is repeated, in milliseconds. Late, because the service
 * may have completed the failed one, and then repeating it revokes the session.
 */
const RETRY_MARGIN_MS = 15_000;

/**
 * Returns the times for a new access token; none if it seems to have expired. Then the client's clock is wrong, and a
 * rejected call triggers the refresh.
 */
export function scheduleRefresh({
  accessTokenExpireTime,
}: Tokens): Pick<StoredTokens, "refreshAtMs" | "expireAtMs"> {
  const expireAtMs = accessTokenExpireTime === undefined ? 0 : timestampMs(accessTokenExpireTime);
  if (expireAtMs - Date.now() <= 2 * REFRESH_MARGIN_MS) return {};
  return { refreshAtMs: expireAtMs - REFRESH_MARGIN_MS, expireAtMs };
}

/** Returns whether an access token should be replaced before it is used. */
export function isRefreshDue({ refreshAtMs = Number.POSITIVE_INFINITY }: StoredTokens): boolean {
  return Date.now() >= refreshAtMs;
}

/** Returns the tokens with a later refresh, after a failed one; undefined when the access token has expired. */
export function postponeRefresh(stored: StoredTokens): StoredTokens | undefined {
  const { expireAtMs = 0 } = stored;
  const nowMs = Date.now();
  if (nowMs >= expireAtMs) return undefined;
  const retryAtMs = Math.max(nowMs + RETRY_DELAY_MS, expireAtMs - RETRY_MARGIN_MS);
  return { ...stored, refreshAtMs: Math.min(retryAtMs, expireAtMs) };
}
