import { errors, type JWTVerifyResult, jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import { type Clock, MAX_CLOCK_SKEW_MS } from "../../kernel/clock.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { TokenSubject } from "../accounts/accounts.ts";
import type { SigningKeys } from "../signing-keys/signing-keys.ts";
import { accessTokenExpired, accessTokenInvalid } from "./credential-errors.ts";

/** The claims of an access token that the service reads. Role and revocation are read from the database instead. */
export interface AccessTokenClaims {
  accountId: string;
  customerId: string;
  sessionId: string;
  /** The id of the signing key. */
  kid: string;
  /** Expiry of the token, in milliseconds since 1970. */
  expiresAtMs: number;
}

/** Access tokens: JWTs after RFC 9068, signed with Ed25519. */
export interface AccessTokens {
  /** Returns a new access token, valid for 10 minutes. */
  sign(subject: TokenSubject, sessionId: string): Promise<{ token: string; expireTime: Date }>;
  /**
   * Verifies signature and claims of an access token.
   * @param beforeLookup called before the database is queried for an unknown signing key; what it throws is rethrown
   * @throws AppError unauthenticated for an invalid or expired token
   */
  verify(token: string, beforeLookup?: () => void): Promise<AccessTokenClaims>;
}

/** Dependencies of the access tokens. */
export interface AccessTokensOptions {
  keys: Pick<SigningKeys, "current" | "find">;
  ids: Ids;
  clock: Clock;
  /** Value of the claims `iss` and `aud`. */
  issuer: string;
}

const LIFETIME_SECONDS = 600;
const ALGORITHM = "EdDSA";
/** RFC 9068, 2.1. */
const TYPE = "at+jwt";

const claimsSchema = z.object({
  sub: z.uuid(),
  sid: z.uuid(),
  customer_id: z.uuid(),
  iat: z.number(),
  exp: z.number(),
});

/** Creates the signer and verifier of access tokens. */
export function createAccessTokens({ keys, ids, clock, issuer }: AccessTokensOptions): AccessTokens {
  async function verifyJwt(token: string, now: Date, beforeLookup?: () => void): Promise<JWTVerifyResult> {
    try {
      return await jwtVerify(
        token,
        async ({ kid = "" }) => {
          const key = await keys.find(kid, beforeLookup);
          if (key === undefined) throw accessTokenInvalid();
          return key;
        },
        { algorithms: [ALGORITHM], typ: TYPE, issuer, audience: issuer, currentDate: now },
      );
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw accessTokenExpired();
      throw error instanceof errors.JOSEError ? accessTokenInvalid(error) : error;
    }
  }

  return {
    async sign({ id, customerId, role }, sessionId) {
      const { kid, key } = keys.current();
      const issuedAt = Math.floor(clock.now().getTime() / 1_000);
      const expiresAt = issuedAt + LIFETIME_SECONDS;
      const token = await new SignJWT({ sid: sessionId, customer_id: customerId, role })
        .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid })
        .setIssuer(issuer)
        .setAudience(issuer)
        .setSubject(id)
        .setIssuedAt(issuedAt)
        .setExpirationTime(expiresAt)
        .setJti(ids())
        .sign(key);
      return { token, expireTime: new Date(expiresAt * 1_000) };
    },

    async verify(token, beforeLookup) {
      const now = clock.now();
      const { payload, protectedHeader } = await verifyJwt(token, now, beforeLookup);
      const { data: claims } = claimsSchema.safeParse(payload);
      if (claims === undefined) throw accessTokenInvalid();
      const isFromFuture = claims.iat * 1_000 > now.getTime() + MAX_CLOCK_SKEW_MS;
      if (isFromFuture || claims.exp - claims.iat > LIFETIME_SECONDS) throw accessTokenInvalid();
      return {
        accountId: claims.sub,
        customerId: claims.customer_id,
        sessionId: claims.sid,
        kid: protectedHeader.kid ?? "",
        expiresAtMs: claims.exp * 1_000,
      };
    },
  };
}
