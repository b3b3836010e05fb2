import type { TokenSubject } from "../accounts/accounts.ts";
import type { RefreshGrant } from "../sessions/sessions.ts";
import type { AccessTokens } from "./access-tokens.ts";

/** The credentials of a session: a short-lived access token, and the refresh token for the next one. */
export interface TokenPair {
  accessToken: string;
  accessTokenExpireTime: Date;
  refreshToken: string;
  refreshTokenExpireTime: Date;
}

/** Signs an access token for a session and returns it beside the session's refresh token. */
export async function issueTokenPair(
  accessTokens: AccessTokens,
  subject: TokenSubject,
  { sessionId, token, expireTime }: RefreshGrant,
): Promise<TokenPair> {
  const access = await accessTokens.sign(subject, sessionId);
  return {
    accessToken: access.token,
    accessTokenExpireTime: access.expireTime,
    refreshToken: token,
    refreshTokenExpireTime: expireTime,
  };
}
