import { createHmac, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { importJWK, type JWTHeaderParameters, SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import {
  callAs,
  createTestClock,
  type IdentityInstance,
  openIdentity,
  registerAccount,
  rejectionReason,
} from "../../../support/identity/identity-instance.ts";

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const partsOf = (token: string) => {
  const [header = "", payload = "", signature = ""] = token.split(".");
  return { header, payload, signature };
};
const decode = (part: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(part, "base64url").toString());

/** A token that is right in all but what is said, signed by the instance's own key. */
async function forge(
  { keysFile }: IdentityInstance,
  genuine: string,
  claims: Record<string, unknown>,
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  const { keys } = JSON.parse(await readFile(keysFile, "utf8"));
  const parts = partsOf(genuine);
  const { kid } = decode(parts.header);
  return new SignJWT({ ...decode(parts.payload), ...claims })
    .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid: String(kid), ...header })
    .sign(await importJWK(keys[0], "EdDSA"));
}

describe("an access token", () => {
  test("is a JWT that says who, for whom and until when, and can be verified by the published key", async () => {
    const instance = await openIdentity();
    const { tokens, account, principal } = await registerAccount(instance);
    const { header, payload } = partsOf(tokens.accessToken);
    const { keys } = await instance.identity.jwks();
    expect(keys).toHaveLength(1);
    expect(keys[0]).toEqual({
      ...{ kty: "OKP", crv: "Ed25519", alg: "EdDSA", use: "sig" },
      ...{ x: expect.stringMatching(/^[\w-]{43}$/), kid: expect.stringMatching(/^[\w-]{43}$/) },
    });
    expect(decode(header)).toEqual({ alg: "EdDSA", typ: "at+jwt", kid: keys[0]?.kid });
    const claims = decode(payload);
    expect(claims).toMatchObject({
      ...{ iss: "cartwright", aud: "cartwright", sub: account.id, customer_id: account.customerId },
      ...{ role: "CUSTOMER", jti: expect.any(String) },
    });
    expect(principal).toMatchObject({ sessionId: claims.sid });
    expect(Number(claims.exp) - Number(claims.iat)).toBe(600);
    expect(tokens.accessTokenExpireTime.getTime()).toBe(Number(claims.exp) * 1_000);
  });

  test("is as it must be when it is forged from the right key: the control of what follows", async () => {
    const instance = await openIdentity();
    const { tokens, principal } = await registerAccount(instance);
    const forged = await forge(instance, tokens.accessToken, { jti: randomUUID() });
    expect(await instance.identity.authenticate(forged)).toEqual(principal);
  });

  test.each<[string, Record<string, unknown>, Partial<JWTHeaderParameters>, string]>([
    ["for another audience", { aud: "elsewhere" }, {}, "TOKEN_INVALID"],
    ["of another issuer", { iss: "elsewhere" }, {}, "TOKEN_INVALID"],
    ["of another type", {}, { typ: "JWT" }, "TOKEN_INVALID"],
    ["of no type", {}, { typ: undefined }, "TOKEN_INVALID"],
    ["of an unknown key", {}, { kid: "A".repeat(43) }, "TOKEN_INVALID"],
    ["of a key that is no key's name", {}, { kid: "' or 1=1; --" }, "TOKEN_INVALID"],
    ["of no key", {}, { kid: undefined }, "TOKEN_INVALID"],
    ["that is over", { exp: Math.floor(Date.now() / 1_000) - 1 }, {}, "TOKEN_EXPIRED"],
    ["that never ends", { exp: undefined }, {}, "TOKEN_INVALID"],
    ["that is not good yet", { nbf: Math.floor(Date.now() / 1_000) + 120 }, {}, "TOKEN_INVALID"],
    ["of the future", { iat: Math.floor(Date.now() / 1_000) + 120 }, {}, "TOKEN_INVALID"],
    ["of no time", { iat: undefined }, {}, "TOKEN_INVALID"],
    ["of nobody", { sub: undefined }, {}, "TOKEN_INVALID"],
    ["without a session", { sid: undefined }, {}, "TOKEN_INVALID"],
    ["of a session that is none", { sid: "1" }, {}, "TOKEN_INVALID"],
    ["of a session that never was", { sid: randomUUID() }, {}, "SESSION_ENDED"],
    ["of somebody else's session", { sub: randomUUID() }, {}, "TOKEN_INVALID"],
    ["of another customer", { customer_id: randomUUID() }, {}, "TOKEN_INVALID"],
    ["for longer than ours", { exp: Math.floor(Date.now() / 1_000) + 700 }, {}, "TOKEN_INVALID"],
    ["without a customer", { customer_id: undefined }, {}, "TOKEN_INVALID"],
  ])("%s is refused", async (_, claims, header, reason) => {
    const instance = await openIdentity();
    const { tokens } = await registerAccount(instance);
    const forged = await forge(instance, tokens.accessToken, claims, header);
    expect(await rejectionReason(() => instance.identity.authenticate(forged))).toBe(reason);
  });

  test("without a signature, by another algorithm or changed on the way is refused", async () => {
    const instance = await openIdentity();
    const { tokens } = await registerAccount(instance);
    const { header, payload, signature } = partsOf(tokens.accessToken);
    const { keys } = await instance.identity.jwks();
    const [key] = keys;
    const none = encode({ ...decode(header), alg: "none" });
    const hmac = encode({ ...decode(header), alg: "HS256" });
    const byPublicKey = (secret: string | Buffer) =>
      `${hmac}.${payload}.${createHmac("sha256", secret).update(`${hmac}.${payload}`).digest("base64url")}`;
    const other = encode({ ...decode(payload), role: "ADMIN" });
    const forgeries = [
      `${none}.${payload}.`,
      `${none}.${payload}.${signature}`,
      byPublicKey(key?.x ?? ""),
      byPublicKey(Buffer.from(key?.x ?? "", "base64url")),
      byPublicKey(JSON.stringify(key)),
      `${header}.${other}.${signature}`,
      `${header}.${payload}.${signature.slice(0, -3)}AAA`,
      `${header}.${payload}`,
      `${header}.${payload}.`,
      "a.b.c",
      "cr_",
      "nonsense",
    ];
    for (const forged of forgeries) {
      expect(await rejectionReason(() => instance.identity.authenticate(forged)), forged).toBe(
        "TOKEN_INVALID",
      );
    }
    expect(await instance.identity.authenticate(tokens.accessToken)).toMatchObject({ role: "CUSTOMER" });
  });

  test("ends after ten minutes, whether it was seen before or not", async () => {
    const clock = createTestClock();
    const instance = await openIdentity({ clock });
    const { email, password, tokens } = await registerAccount(instance);
    const unseen = (await instance.identity.signIn(callAs(), { email, password })).tokens;
    clock.advance(598_000);
    expect(await instance.identity.authenticate(tokens.accessToken)).toMatchObject({ kind: "account" });
    clock.advance(2_000);
    for (const { accessToken } of [tokens, unseen]) {
      expect(await rejectionReason(() => instance.identity.authenticate(accessToken))).toBe("TOKEN_EXPIRED");
    }
  });

  test("says nothing of the role: that is the database's word, at once", async () => {
    const instance = await openIdentity();
    const { tokens, email } = await registerAccount(instance);
    for (const role of ["ADMIN", "STAFF", "CUSTOMER"] as const) {
      await instance.identity.setRole(internalCall(), email.toUpperCase(), role);
      expect(await instance.identity.authenticate(tokens.accessToken)).toMatchObject({ role });
    }
  });

  test("says nothing of others of its session, whichever is seen first", async () => {
    const instance = await openIdentity();
    const { authenticate, setRole } = instance.identity;
    for (const isForgedFirst of [true, false]) {
      const { tokens, email } = await registerAccount(instance);
      const forged = await forge(instance, tokens.accessToken, {
        sub: (await registerAccount(instance)).account.id,
      });
      const fake = () => rejectionReason(() => authenticate(forged));
      const { sid } = decode(partsOf(tokens.accessToken).payload);
      const shouted = await forge(instance, tokens.accessToken, { sid: String(sid).toUpperCase() });
      expect(await rejectionReason(() => authenticate(shouted))).toBe("TOKEN_INVALID");
      if (isForgedFirst) expect(await fake()).toBe("TOKEN_INVALID");
      await expect.poll(() => authenticate(tokens.accessToken)).not.toBeInstanceOf(Promise);
      expect(await fake()).toBe("TOKEN_INVALID");
      await setRole(internalCall(), email, "ADMIN");
      expect(await authenticate(tokens.accessToken)).toMatchObject({ role: "ADMIN" });
    }
  });

  test("is no longer good once its customer is deleted, and again when they are back", async () => {
    const instance = await openIdentity();
    const { tokens, account } = await registerAccount(instance);
    await instance.customers.remove(internalCall(), account.customerId, "");
    expect(await rejectionReason(() => instance.identity.authenticate(tokens.accessToken))).toBe(
      "SESSION_ENDED",
    );
    await instance.customers.restore(internalCall(), account.customerId, "");
    expect(await instance.identity.authenticate(tokens.accessToken)).toMatchObject({ kind: "account" });
  });

  test("that was seen before is known at once and without asking anybody", async () => {
    const instance = await openIdentity();
    const { tokens, principal } = await registerAccount(instance);
    const { authenticate } = instance.identity;
    // Redis is relied upon some moments after the start.
    await expect.poll(() => authenticate(tokens.accessToken)).not.toBeInstanceOf(Promise);
    const asked = instance.reads.length;
    for (let n = 0; n < 1_000; n += 1) await authenticate(tokens.accessToken);
    expect(instance.reads.length).toBe(asked);
    expect(await authenticate(tokens.accessToken)).toEqual(principal);
  });

  test("of made-up keys costs the database next to nothing, however many there are", async () => {
    const instance = await openIdentity();
    const { tokens } = await registerAccount(instance);
    const forged = await Promise.all(
      Array.from({ length: 500 }, (_, n) =>
        forge(instance, tokens.accessToken, {}, { kid: String(n).padStart(43, "k") }),
      ),
    );
    const before = instance.reads.length;
    for (let round = 0; round < 3; round += 1) {
      const reasons = await Promise.all(
        forged.map((one) => rejectionReason(() => instance.identity.authenticate(one))),
      );
      expect(new Set(reasons)).toEqual(new Set(["TOKEN_INVALID"]));
    }
    expect(instance.reads.length - before).toBeLessThanOrEqual(10);
  });

  test("of made-up keys is refused unasked to whoever shows too many, one of a known key is not", async () => {
    const instance = await openIdentity();
    const { tokens } = await registerAccount(instance);
    const { authenticate } = instance.identity;
    const refuse = () => {
      throw new AppError("exhausted", "Too many.", { reason: "REFUSED" });
    };
    const forged = await forge(instance, tokens.accessToken, {}, { kid: "k".repeat(43) });
    const before = instance.reads.length;
    expect(await rejectionReason(() => authenticate(forged, refuse))).toBe("REFUSED");
    expect(instance.reads.length).toBe(before);
    const { email, password } = await registerAccount(instance);
    const { accessToken } = (await instance.identity.signIn(callAs(), { email, password })).tokens;
    expect(await authenticate(accessToken, refuse)).toMatchObject({ kind: "account" });
    expect(await rejectionReason(() => authenticate(forged))).toBe("TOKEN_INVALID");
  });
});
