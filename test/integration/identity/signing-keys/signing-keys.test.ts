import { generateKeyPairSync, randomBytes } from "node:crypto";
import { copyFile, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { calculateJwkThumbprint } from "jose";
import { describe, expect, test } from "vitest";
import { createJwksStore } from "../../../../src/identity/signing-keys/jwks-store.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { DAY_MS } from "../../../../src/kernel/durations.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";
import {
  callAs,
  createSharedStores,
  credentialStatus,
  type IdentityInstance,
  openIdentity,
  registerAccount,
  signingKeyId,
  waitUntilCached,
  withSigningKeyId,
} from "../../../support/identity/identity-instance.ts";
import { createTestClock } from "../../../support/identity/test-clock.ts";

const listKids = async ({ identity }: IdentityInstance): Promise<string[]> =>
  (await identity.jwks()).keys.map(({ kid }) => kid);

test("instances with different keys accept each other's tokens, also of keys that were published later", async () => {
  const stores = await createSharedStores();
  const one = await openIdentity({ stores, keysFile: "one.json" });
  await registerAccount(one);
  const two = await openIdentity({ stores, keysFile: "two.json" });
  const tokenOfOne = (await registerAccount(one)).tokens.accessToken;
  const tokenOfTwo = (await registerAccount(two)).tokens.accessToken;
  expect(signingKeyId(tokenOfOne)).not.toBe(signingKeyId(tokenOfTwo));
  expect(await credentialStatus(two, tokenOfOne)).toBe("VALID");
  expect(await credentialStatus(one, tokenOfTwo)).toBe("VALID");
  const kids = [signingKeyId(tokenOfOne), signingKeyId(tokenOfTwo)];
  expect((await listKids(two)).toSorted()).toEqual(kids.toSorted());
});

describe("a revoked signing key", () => {
  /** Opens two replicas with one key file. */
  async function openReplicas() {
    const clock = createTestClock();
    const stores = await createSharedStores();
    const one = await openIdentity({ stores, clock });
    const two = await openIdentity({ stores, clock });
    const store = createJwksStore({ db: two.db, clock });
    return { stores, clock, one, two, store, revoke: (kid: string) => store.revoke(internalCall(), kid) };
  }

  test("revoking a signing key invalidates its tokens at every replica, cached or not", async () => {
    const { one, two, revoke } = await openReplicas();
    const { tokens: cached, email, password } = await registerAccount(one);
    await waitUntilCached([one, two], cached.accessToken);
    const { tokens: unused } = await one.identity.signIn(callAs(), { email, password });
    expect(await revoke(signingKeyId(cached.accessToken))).toBe(true);
    for (const instance of [one, two]) {
      for (const { accessToken } of [cached, unused]) {
        const status = () => credentialStatus(instance, accessToken);
        await expect.poll(status, { timeout: 30_000 }).toBe("TOKEN_INVALID");
      }
    }
  });

  test("instances replace a revoked signing key and no longer publish it once they read the keys again", async () => {
    const { one, two, revoke } = await openReplicas();
    const { tokens, email, password } = await registerAccount(one);
    const revokedKid = signingKeyId(tokens.accessToken);
    await revoke(revokedKid);
    for (const instance of [one, two]) {
      // An unknown key id makes the instance read the keys.
      const unknownKid = randomBytes(32).toString("base64url");
      await credentialStatus(instance, withSigningKeyId(tokens.accessToken, unknownKid));
      const signIn = async () =>
        (await instance.identity.signIn(callAs(), { email, password })).tokens.accessToken;
      const currentKid = async () => signingKeyId(await signIn());
      await expect.poll(currentKid, { timeout: 30_000 }).not.toBe(revokedKid);
      expect(await credentialStatus(instance, await signIn())).toBe("VALID");
      expect(await listKids(instance)).not.toContain(revokedKid);
    }
    expect(await readFile(one.keysFile, "utf8")).not.toContain(revokedKid);
    expect((await stat(one.keysFile)).mode & 0o777).toBe(0o600);
  });

  test("an instance that still has a revoked key cannot publish it again, even long after its revocation", async () => {
    const { stores, clock, one, revoke } = await openReplicas();
    const revokedKid = signingKeyId((await registerAccount(one)).tokens.accessToken);
    await copyFile(one.keysFile, join(stores.folder, "old.json"));
    const [published] = await one.database.query<{ x: string }>(
      "select public_key ->> 'x' as x from signing_key",
    );
    await revoke(revokedKid);
    clock.advance(20 * DAY_MS);
    await one.identity.purgeExpired(internalCall());
    const late = await openIdentity({ stores, clock, keysFile: "old.json" });
    const { tokens } = await registerAccount(late);
    expect(signingKeyId(tokens.accessToken)).not.toBe(revokedKid);
    expect(await listKids(late)).not.toContain(revokedKid);
    const [row] = await one.database.query<{ text: string }>(
      "select signing_key::text as text from signing_key where id = $1",
      [revokedKid],
    );
    expect(published?.x).toMatch(/^[\w-]{43}$/);
    expect(row?.text).not.toContain(published?.x);
  });

  test("a key that is revoked before its first use cannot be published", async () => {
    const { one, store, revoke } = await openReplicas();
    const kid = "A".repeat(43);
    expect(await revoke(kid)).toBe(false);
    expect(await credentialStatus(one, (await registerAccount(one)).tokens.accessToken)).toBe("VALID");
    expect(await store.publish({ kty: "OKP", crv: "Ed25519", x: kid, kid })).toBe(false);
  });

  test("a revoked key that the service did not generate fails the start with an error that says to replace it", async () => {
    const { stores, revoke } = await openReplicas();
    const file = join(stores.folder, "external.json");
    const jwk = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
    const text = JSON.stringify({ keys: [jwk] });
    await writeFile(file, text, { mode: 0o600 });
    const { x = "" } = jwk;
    await revoke(await calculateJwkThumbprint({ kty: "OKP", crv: "Ed25519", x }));
    const start = openIdentity({ stores, keysFile: "external.json" });
    await expect(start).rejects.toThrow(`The first key in ${file} is revoked. Replace it with another one.`);
    await expect(start).rejects.toThrow(StartupError);
    expect(await readFile(file, "utf8")).toBe(text);
  });
});
