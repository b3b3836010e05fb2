import { generateKeyPairSync, randomBytes } from "node:crypto";
import { chmod, copyFile, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { calculateJwkThumbprint } from "jose";
import { describe, expect, test } from "vitest";
import { createJwksStore } from "../../../../src/identity/signing-keys/jwks-store.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";
import {
  callAs,
  createSharedStores,
  createTestClock,
  type IdentityInstance,
  openIdentity,
  registerAccount,
  rejectionReason,
} from "../../../support/identity/identity-instance.ts";

const DAY_MS = 24 * 3_600_000;
const kidOf = (token: string): string =>
  JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).kid;
const keysIn = async (file: string): Promise<{ kid: string; iat?: number; d: string }[]> =>
  JSON.parse(await readFile(file, "utf8")).keys;

test("the first start makes a key that only its owner can read, in a folder of the same kind", async () => {
  const { keysFile } = await openIdentity({ keysFile: "new/folder/keys.json" });
  expect((await stat(keysFile)).mode & 0o777).toBe(0o600);
  expect((await stat(dirname(keysFile))).mode & 0o777).toBe(0o700);
  expect(await readdir(dirname(keysFile))).toEqual(["keys.json"]);
});

test("another start uses the same key", async () => {
  const site = await createSharedStores();
  const first = await openIdentity({ site });
  const { tokens } = await registerAccount(first);
  const second = await openIdentity({ site });
  expect(await second.identity.authenticate(tokens.accessToken)).toMatchObject({ kind: "account" });
  const again = (await registerAccount(second)).tokens;
  expect(kidOf(again.accessToken)).toBe(kidOf(tokens.accessToken));
});

test("processes that start at once on one folder agree on the key", async () => {
  const site = await createSharedStores();
  const instances = await Promise.all(Array.from({ length: 5 }, () => openIdentity({ site })));
  const kids = await Promise.all(
    instances.map(async (one) => kidOf((await registerAccount(one)).tokens.accessToken)),
  );
  expect(new Set(kids).size).toBe(1);
});

test("instances with keys of their own honour each other's tokens, also of keys younger than themselves", async () => {
  const site = await createSharedStores();
  const one = await openIdentity({ site, keysFile: "one.json" });
  await registerAccount(one);
  const two = await openIdentity({ site, keysFile: "two.json" });
  const ofOne = (await registerAccount(one)).tokens.accessToken;
  const ofTwo = (await registerAccount(two)).tokens.accessToken;
  expect(kidOf(ofOne)).not.toBe(kidOf(ofTwo));
  expect(await two.identity.authenticate(ofOne)).toMatchObject({ kind: "account" });
  expect(await one.identity.authenticate(ofTwo)).toMatchObject({ kind: "account" });
  const kids = (await two.identity.jwks()).keys.map(({ kid }) => kid);
  expect(kids.toSorted()).toEqual([kidOf(ofOne), kidOf(ofTwo)].toSorted());
});

test("a key signs for 30 days; tokens of the one before are good until they are over", async () => {
  const clock = createTestClock();
  const site = await createSharedStores();
  const before = await openIdentity({ site, clock });
  const old = (await registerAccount(before)).tokens;
  clock.advance(29 * DAY_MS);
  await openIdentity({ site, clock });
  expect(await keysIn(before.keysFile)).toHaveLength(1);
  clock.advance(2 * DAY_MS);
  const last = await registerAccount(before);
  const after = await openIdentity({ site, clock });
  const [first, second, ...others] = await keysIn(after.keysFile);
  expect(others).toEqual([]);
  expect(second?.kid).toBe(kidOf(old.accessToken));
  const fresh = (await registerAccount(after)).tokens;
  expect(kidOf(fresh.accessToken)).toBe(first?.kid);
  expect((await stat(after.keysFile)).mode & 0o777).toBe(0o600);
  // Each honours the other's, although they have read different files.
  expect(await after.identity.authenticate(last.tokens.accessToken)).toMatchObject({ kind: "account" });
  expect(await before.identity.authenticate(fresh.accessToken)).toMatchObject({ kind: "account" });
  // A day later the private half of the old one is gone, and some weeks later the public one.
  clock.advance(2 * DAY_MS);
  const later = await openIdentity({ site, clock });
  expect((await keysIn(later.keysFile)).map(({ kid }) => kid)).toEqual([first?.kid]);
  clock.advance(39 * DAY_MS);
  await later.identity.purgeExpired(internalCall());
  const kids = await later.database.query<{ id: string }>("select id from signing_key");
  expect(kids).toEqual([{ id: first?.kid }]);
});

test("a key that somebody brought is used as it is, and never replaced", async () => {
  const clock = createTestClock();
  const site = await createSharedStores();
  const file = join(site.folder, "signing-keys.json");
  const { privateKey } = generateKeyPairSync("ed25519");
  const text = JSON.stringify({ keys: [privateKey.export({ format: "jwk" })] });
  await writeFile(file, text, { mode: 0o600 });
  clock.advance(400 * DAY_MS);
  const instance = await openIdentity({ site, clock });
  const { tokens } = await registerAccount(instance);
  expect(await instance.identity.authenticate(tokens.accessToken)).toMatchObject({ kind: "account" });
  expect(await readFile(file, "utf8")).toBe(text);
});

test.each(["400", "440", "640"])("a file of mode 0%s, as secrets are mounted, is good", async (mode) => {
  const site = await createSharedStores();
  const file = join(site.folder, "signing-keys.json");
  await writeFile(file, JSON.stringify({ keys: [pair] }));
  await chmod(file, Number.parseInt(mode, 8));
  await registerAccount(await openIdentity({ site }));
});

const rsa = generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey.export({ format: "jwk" });
const pair = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
const other = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });

test.each<[string, string, number, string]>([
  ["others can read", JSON.stringify({ keys: [pair] }), 0o604, "chmod 600"],
  ["others can write", JSON.stringify({ keys: [pair] }), 0o602, "chmod 600"],
  ["its group can write", JSON.stringify({ keys: [pair] }), 0o660, "chmod 600"],
  ["may be known to others", JSON.stringify({ keys: [pair] }), 0o644, "revoke-signing-key --id="],
  ["is no JSON", "{", 0o600, "JWK set of Ed25519 keys"],
  ["holds no key", '{"keys":[]}', 0o600, "JWK set of Ed25519 keys"],
  ["holds a key of another kind", JSON.stringify({ keys: [rsa] }), 0o600, "JWK set of Ed25519 keys"],
  ["lacks the private half", JSON.stringify({ keys: [{ ...pair, d: undefined }] }), 0o600, "JWK set"],
  ["has halves of two keys", JSON.stringify({ keys: [{ ...pair, x: other.x }] }), 0o600, "do not match"],
])("a file that %s ends the start, which says what to do", async (_, text, mode, says) => {
  const site = await createSharedStores();
  const file = join(site.folder, "signing-keys.json");
  await writeFile(file, text);
  await chmod(file, mode);
  const error = await openIdentity({ site }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StartupError);
  expect(String(error)).toContain(says);
  expect(String(error)).toContain(file);
  expect(String(error)).not.toContain(pair.d);
  expect(await readFile(file, "utf8")).toBe(text);
});

test("a file that is a folder, or cannot be made, ends the start too", async () => {
  const site = await createSharedStores();
  await mkdir(join(site.folder, "folder.json"));
  await writeFile(join(site.folder, "file"), "");
  for (const keysFile of ["folder.json", "file/keys.json"]) {
    await expect(openIdentity({ site, keysFile }), keysFile).rejects.toThrow(StartupError);
  }
});

describe("a key that is revoked", () => {
  /** Two replicas with one file. */
  const openPair = async (clock = createTestClock()) => {
    const site = await createSharedStores();
    const one = await openIdentity({ site, clock });
    const two = await openIdentity({ site, clock });
    const revoke = (kid: string) => createJwksStore({ db: two.db, clock }).revoke(internalCall(), kid);
    return { site, clock, one, two, revoke };
  };
  const statusAt = ({ identity }: IdentityInstance, token: string) =>
    rejectionReason(() => identity.authenticate(token)).catch(() => "GOOD");
  /** Makes an instance ask for all keys: nobody knows this one. */
  const stir = (instance: IdentityInstance, token: string) => {
    const [, ...rest] = token.split(".");
    const header = { alg: "EdDSA", typ: "at+jwt", kid: randomBytes(32).toString("base64url") };
    const text = Buffer.from(JSON.stringify(header)).toString("base64url");
    return statusAt(instance, [text, ...rest].join("."));
  };

  test("takes its tokens with it, at once and everywhere, whether they were seen before or not", async () => {
    const { one, two, revoke } = await openPair();
    const { tokens: seen, email, password } = await registerAccount(one);
    for (const { identity } of [one, two]) {
      await expect.poll(() => identity.authenticate(seen.accessToken)).not.toBeInstanceOf(Promise);
    }
    const { tokens: unseen } = await one.identity.signIn(callAs(), { email, password });
    expect(await revoke(kidOf(seen.accessToken))).toBe(true);
    for (const instance of [one, two]) {
      for (const { accessToken } of [seen, unseen]) {
        await expect
          .poll(() => statusAt(instance, accessToken), { timeout: 200, interval: 5 })
          .toBe("TOKEN_INVALID");
      }
    }
  });

  test("is replaced by those who sign by it, and no more shown, once they ask for keys again", async () => {
    const { one, two, revoke } = await openPair();
    const { tokens, email, password } = await registerAccount(one);
    const kid = kidOf(tokens.accessToken);
    await revoke(kid);
    for (const instance of [one, two]) {
      await stir(instance, tokens.accessToken);
      const signedIn = async () =>
        (await instance.identity.signIn(callAs(), { email, password })).tokens.accessToken;
      await expect.poll(async () => kidOf(await signedIn())).not.toBe(kid);
      expect(await statusAt(instance, await signedIn())).toBe("GOOD");
      expect((await instance.identity.jwks()).keys.map((key) => key.kid)).not.toContain(kid);
    }
    expect((await keysIn(one.keysFile)).map((key) => key.kid)).not.toContain(kid);
    expect((await stat(one.keysFile)).mode & 0o777).toBe(0o600);
  });

  test("is never published again, however long ago it was, by an instance that still has it", async () => {
    const { site, clock, one, revoke } = await openPair();
    const old = (await registerAccount(one)).tokens.accessToken;
    await copyFile(one.keysFile, join(site.folder, "old.json"));
    const text = await one.database.query<{ text: string }>(
      "select public_key::text as text from signing_key",
    );
    await revoke(kidOf(old));
    clock.advance(20 * DAY_MS);
    await one.identity.purgeExpired(internalCall());
    const late = await openIdentity({ site, clock, keysFile: "old.json" });
    const { tokens } = await registerAccount(late);
    expect(kidOf(tokens.accessToken)).not.toBe(kidOf(old));
    expect((await late.identity.jwks()).keys.map(({ kid }) => kid)).not.toContain(kidOf(old));
    // Nothing of it is kept.
    const [row] = await one.database.query<{ text: string }>(
      "select signing_key::text as text from signing_key where id = $1",
      [kidOf(old)],
    );
    expect(row?.text).not.toContain(JSON.parse(text[0]?.text ?? "").x);
  });

  test("before it was ever used is not used either", async () => {
    const { one, clock, revoke } = await openPair();
    const kid = "A".repeat(43);
    expect(await revoke(kid)).toBe(false);
    expect(await statusAt(one, (await registerAccount(one)).tokens.accessToken)).toBe("GOOD");
    expect(
      await createJwksStore({ db: one.db, clock }).publish({ kty: "OKP", crv: "Ed25519", x: kid, kid }),
    ).toBe(false);
  });

  test("and was brought by somebody ends the start, which says that it is theirs to replace", async () => {
    const { site, revoke } = await openPair();
    const file = join(site.folder, "brought.json");
    const text = JSON.stringify({ keys: [pair] });
    await writeFile(file, text, { mode: 0o600 });
    const { x = "" } = pair;
    await revoke(await calculateJwkThumbprint({ kty: "OKP", crv: "Ed25519", x }));
    const start = openIdentity({ site, keysFile: "brought.json" });
    await expect(start).rejects.toThrow(`The first key in ${file} is revoked. Replace it with another one.`);
    await expect(start).rejects.toThrow(StartupError);
    expect(await readFile(file, "utf8")).toBe(text);
  });
});
