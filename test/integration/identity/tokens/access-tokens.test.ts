import { createHmac, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { importJWK, type JWTHeaderParameters, type JWTPayload, SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import {
  callAs,
  credentialStatus,
  type IdentityInstance,
  openIdentity,
  registerAccount,
  rejectionReason,
  waitUntilCached,
  withSigningKeyId,
} from "../../../support/identity/identity-instance.ts";

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const decode = (part: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(part, "base64url").toString());
const partsOf = (token: string) => {
  const [header = "", payload = "", signature = ""] = token.split(".");
  return { header, payload, signature };
};

/** Signs a genuine token again with the instance's own key, with other claims or another header. */
async function resign(
  { keysFile }: IdentityInstance,
  genuine: string,
  claims: JWTPayload,
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  const { keys } = JSON.parse(await readFile(keysFile, "utf8"));
  const parts = partsOf(genuine);
  const { kid } = decode(parts.header);
  return new SignJWT({ ...decode(parts.payload), ...claims })
    .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid: String(kid), ...header })
    .sign(await importJWK(keys[0], "EdDSA"));
}

describe("access tokens", () => {
  test("an access token is a JWT after RFC 9068 that the published key verifies", async () => {
    const instance = await openIdentity();
    const { tokens, account, principal } = await registerAccount(instance);
    const { header, payload } = partsOf(tokens.accessToken);
    const { keys } = await instance.identity.jwks();
    expect(keys).toEqual([
      {
        kty: "OKP",
        crv: "Ed25519",
        alg: "EdDSA",
        use: "sig",
        x: expect.stringMatching(/^[\w-]{43}$/),
        kid: expect.stringMatching(/^[\w-]{43}$/),
      },
    ]);
    expect(decode(header)).toEqual({ alg: "EdDSA", typ: "at+jwt", kid: keys[0]?.kid });
    const claims = decode(payload);
    expect(claims).toMatchObject({
      iss: "cartwright",
      aud: "cartwright",
      sub: account.id,
      customer_id: account.customerId,
      role: "CUSTOMER",
      jti: expect.any(String),
    });
    expect(principal).toMatchObject({ sessionId: claims.sid });
    expect(Number(claims.exp) - Number(claims.iat)).toBe(600);
    expect(tokens.accessTokenExpireTime.getTime()).toBe(Number(claims.exp) * 1_000);
  });

  test("a token that is signed again with valid claims is accepted, so that the rejections below are due to their claims", async () => {
    const instance = await openIdentity();
    const { tokens, principal } = await registerAccount(instance);
    const resigned = await resign(instance, tokens.accessToken, { jti: randomUUID() });
    expect(await instance.identity.authenticate(resigned)).toEqual(principal);
  });

  type Change = (nowSeconds: number) => JWTPayload;
  const noChange: Change = () => ({});
  test.each<[string, Change, Partial<JWTHeaderParameters>, string]>([
    ["another audience", () => ({ aud: "elsewhere" }), {}, "TOKEN_INVALID"],
    ["another issuer", () => ({ iss: "elsewhere" }), {}, "TOKEN_INVALID"],
    ["another type", noChange, { typ: "JWT" }, "TOKEN_INVALID"],
    ["no type", noChange, { typ: undefined }, "TOKEN_INVALID"],
    ["an unknown key id", noChange, { kid: "A".repeat(43) }, "TOKEN_INVALID"],
    ["a malformed key id", noChange, { kid: "' or 1=1; --" }, "TOKEN_INVALID"],
    ["no key id", noChange, { kid: undefined }, "TOKEN_INVALID"],
    ["an expiry in the past", (now) => ({ exp: now - 1 }), {}, "TOKEN_EXPIRED"],
    ["no expiry", () => ({ exp: undefined }), {}, "TOKEN_INVALID"],
    ["a lifetime of more than ten minutes", (now) => ({ exp: now + 700 }), {}, "TOKEN_INVALID"],
    ["a start of validity in the future", (now) => ({ nbf: now + 120 }), {}, "TOKEN_INVALID"],
    ["an issue time in the future", (now) => ({ iat: now + 120 }), {}, "TOKEN_INVALID"],
    ["no issue time", () => ({ iat: undefined }), {}, "TOKEN_INVALID"],
    ["no subject", () => ({ sub: undefined }), {}, "TOKEN_INVALID"],
    ["another account than its session's", () => ({ sub: randomUUID() }), {}, "TOKEN_INVALID"],
    ["no session", () => ({ sid: undefined }), {}, "TOKEN_INVALID"],
    ["a malformed session", () => ({ sid: "1" }), {}, "TOKEN_INVALID"],
    ["an unknown session", () => ({ sid: randomUUID() }), {}, "SESSION_ENDED"],
    ["no customer", () => ({ customer_id: undefined }), {}, "TOKEN_INVALID"],
    ["another customer than its account's", () => ({ customer_id: randomUUID() }), {}, "TOKEN_INVALID"],
  ])("a correctly signed token with %s is rejected", async (_, claims, header, reason) => {
    const instance = await openIdentity();
    const { tokens } = await registerAccount(instance);
    const issuedAt = Number(decode(partsOf(tokens.accessToken).payload).iat);
    const resigned = await resign(instance, tokens.accessToken, claims(issuedAt), header);
    expect(await credentialStatus(instance, resigned)).toBe(reason);
  });

  test("a token without a signature, with another algorithm or with a changed payload is rejected", async () => {
    const instance = await openIdentity();
    const { tokens } = await registerAccount(instance);
    const { header, payload, signature } = partsOf(tokens.accessToken);
    const { keys } = await instance.identity.jwks();
    const [key] = keys;
    const unsigned = encode({ ...decode(header), alg: "none" });
    const hmac = encode({ ...decode(header), alg: "HS256" });
    const signedWith = (secret: string | Buffer) =>
      `${hmac}.${payload}.${createHmac("sha256", secret).update(`${hmac}.${payload}`).digest("base64url")}`;
    const adminPayload = encode({ ...decode(payload), role: "ADMIN" });
    const forgeries = [
      `${unsigned}.${payload}.`,
      `${unsigned}.${payload}.${signature}`,
      signedWith(key?.x ?? ""),
      signedWith(Buffer.from(key?.x ?? "", "base64url")),
      signedWith(JSON.stringify(key)),
      `${header}.${adminPayload}.${signature}`,
      `${header}.${payload}.${signature.slice(0, -3)}AAA`,
      `${header}.${payload}`,
      `${header}.${payload}.`,
      "a.b.c",
      "cr_",
      "nonsense",
    ];
    for (const forged of forgeries) {
      expect(await credentialStatus(instance, forged), forged).toBe("TOKEN_INVALID");
    }
    expect(await instance.identity.authenticate(tokens.accessToken)).toMatchObject({ role: "CUSTOMER" });
  });

  test("two tokens of one session do not affect each other in the cache", async () => {
    const instance = await openIdentity();
    const { authenticate, setRole } = instance.identity;
    for (const isForgedFirst of [true, false]) {
      const { tokens, email } = await registerAccount(instance);
      const otherAccount = (await registerAccount(instance)).account.id;
      const forged = await resign(instance, tokens.accessToken, { sub: otherAccount });
      const { sid } = decode(partsOf(tokens.accessToken).payload);
      const upperCase = await resign(instance, tokens.accessToken, { sid: String(sid).toUpperCase() });
      expect(await credentialStatus(instance, upperCase)).toBe("TOKEN_INVALID");
      if (isForgedFirst) expect(await credentialStatus(instance, forged)).toBe("TOKEN_INVALID");
      await waitUntilCached([instance], tokens.accessToken);
      expect(await credentialStatus(instance, forged)).toBe("TOKEN_INVALID");
      await setRole(internalCall(), email, "ADMIN");
      expect(await authenticate(tokens.accessToken)).toMatchObject({ role: "ADMIN" });
    }
  });

  test("many tokens with nonexistent key ids cause few queries", async () => {
    const instance = await openIdentity();
    const { tokens } = await registerAccount(instance);
    const forged = Array.from({ length: 500 }, (_, n) =>
      withSigningKeyId(tokens.accessToken, String(n).padStart(43, "k")),
    );
    const readsBefore = instance.reads.length;
    const startedAtMs = performance.now();
    for (let round = 0; round < 3; round += 1) {
      const statuses = await Promise.all(forged.map((token) => credentialStatus(instance, token)));
      expect(new Set(statuses)).toEqual(new Set(["TOKEN_INVALID"]));
    }
    // At most one query in 250 ms, also on a slow machine.
    const allowed = 2 + (performance.now() - startedAtMs) / 250;
    expect(instance.reads.length - readsBefore).toBeLessThanOrEqual(allowed);
  });

  test("the lookup of an unknown key id can be rejected before it reaches the database; known keys need none", async () => {
    const instance = await openIdentity();
    const { tokens } = await registerAccount(instance);
    const { authenticate, signIn } = instance.identity;
    const rejectLookup = () => {
      throw new AppError("resource_exhausted", "Too many.", { reason: "LOOKUP_REJECTED" });
    };
    const forged = withSigningKeyId(tokens.accessToken, "k".repeat(43));
    const readsBefore = instance.reads.length;
    expect(await rejectionReason(() => authenticate(forged, rejectLookup))).toBe("LOOKUP_REJECTED");
    expect(instance.reads.length).toBe(readsBefore);
    const { email, password } = await registerAccount(instance);
    const { accessToken } = (await signIn(callAs(), { email, password })).tokens;
    expect(await authenticate(accessToken, rejectLookup)).toMatchObject({ kind: "account" });
    expect(await credentialStatus(instance, forged)).toBe("TOKEN_INVALID");
  });
});
