import { errors, type JWTVerifyResult, jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import { type Clock, MAX_CLOCK_SKEW_MS } from "../../kernel/clock.ts";
import { AppError } from "../../kernel/errors.ts";
import type { Ids } from "../../kernel/ids.ts";
import { TOKEN_EXPIRED } from "../../kernel/principal.ts";
import type { Holder } from "../accounts/accounts.ts";
import type { SigningKeys } from "../signing-keys/signing-keys.ts";

/** What an access token says that matters here. Roles and what has ended are asked of the database. */
export interface Claims {
  accountId: string;
  customerId: string;
  sessionId: string;
  /** Names the key that it is signed by. */
  kid: string;
  /** When it ends, milliseconds since 1970. */
  expiresAtMs: number;
}

/** How long one is good, seconds. */
const LIFETIME_SECONDS = 600;
const ALGORITHM = "EdDSA";
/** RFC 9068, 2.1. */
const TYPE = "at+jwt";

const claimsSchema = z.object({
  ...{ sub: z.uuid(), sid: z.uuid(), customer_id: z.uuid() },
  ...{ iat: z.number(), exp: z.number() },
});

export interface AccessTokensOptions {
  keys: Pick<SigningKeys, "current" | "find">;
  ids: Ids;
  clock: Clock;
  /** Who issues them and who they are for: `iss` and `aud`. */
  issuer: string;
}

/** Access tokens: JWTs by RFC 9068, signed by Ed25519. */
export function createAccessTokens({ keys, ids, clock, issuer }: AccessTokensOptions) {
  return {
    async sign(holder: Holder, sessionId: string): Promise<{ token: string; expireTime: Date }> {
      const { kid, key } = keys.current();
      const iat = Math.floor(clock.now().getTime() / 1_000);
      const exp = iat + LIFETIME_SECONDS;
      const { id, customerId, role } = holder;
      const token = await new SignJWT({ sid: sessionId, customer_id: customerId, role })
        .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid })
        .setIssuer(issuer)
        .setAudience(issuer)
        .setSubject(id)
        .setIssuedAt(iat)
        .setExpirationTime(exp)
        .setJti(ids())
        .sign(key);
      return { token, expireTime: new Date(exp * 1_000) };
    },

    /**
     * @param beforeAsking called before the database is asked for a key that is not known. What it throws is thrown
     * @throws UNAUTHENTICATED for a token that is not ours, or over
     */
    async verify(token: string, beforeAsking?: () => void): Promise<Claims> {
      const now = clock.now();
      const { payload, protectedHeader } = await verified(token, now, beforeAsking);
      const { data } = claimsSchema.safeParse(payload);
      if (data === undefined || data.iat * 1_000 > now.getTime() + MAX_CLOCK_SKEW_MS) throw invalidToken();
      const { sub, sid, customer_id, iat, exp } = data;
      if (exp - iat > LIFETIME_SECONDS) throw invalidToken();
      const { kid = "" } = protectedHeader;
      return { accountId: sub, customerId: customer_id, sessionId: sid, kid, expiresAtMs: exp * 1_000 };
    },
  };

  async function verified(token: string, now: Date, beforeAsking?: () => void): Promise<JWTVerifyResult> {
    try {
      return await jwtVerify(
        token,
        async ({ kid = "" }) => {
          const key = await keys.find(kid, beforeAsking);
          if (key === undefined) throw invalidToken();
          return key;
        },
        { algorithms: [ALGORITHM], typ: TYPE, issuer, audience: issuer, currentDate: now },
      );
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw expiredToken();
      throw error instanceof errors.JOSEError ? invalidToken(error) : error;
    }
  }
}

/** Access tokens as other files see them. */
export type AccessTokens = ReturnType<typeof createAccessTokens>;

/** UNAUTHENTICATED for a token whose time is over. */
export function expiredToken(): AppError {
  return new AppError(
    "unauthenticated",
    "The access token has expired. Get the next one with IdentityService/RefreshSession.",
    { reason: TOKEN_EXPIRED },
  );
}

/** UNAUTHENTICATED for a token that is not ours, or not as we make them. */
export function invalidToken(cause?: unknown): AppError {
  return new AppError(
    "unauthenticated",
    "The access token is not one of ours. Send it as it came, or sign in again.",
    { reason: "TOKEN_INVALID" },
    cause,
  );
}
