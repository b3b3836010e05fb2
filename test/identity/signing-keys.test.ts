import { generateKeyPairSync } from "node:crypto";
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { internalCall } from "../../src/kernel/call.ts";
import { StartError } from "../../src/kernel/errors.ts";
import { createTestClock, enrol, openInstance, openSite } from "./instance.ts";

const DAY_MS = 24 * 3_600_000;
const kidOf = (token: string): string =>
  JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).kid;
const keysIn = async (file: string): Promise<{ kid: string; iat?: number; d: string }[]> =>
  JSON.parse(await readFile(file, "utf8")).keys;

test("the first start makes a key that only its owner can read, in a folder of the same kind", async () => {
  const { keysFile } = await openInstance({ keysFile: "new/folder/keys.json" });
  expect((await stat(keysFile)).mode & 0o777).toBe(0o600);
  expect((await stat(dirname(keysFile))).mode & 0o777).toBe(0o700);
  expect(await readdir(dirname(keysFile))).toEqual(["keys.json"]);
});

test("another start uses the same key", async () => {
  const site = await openSite();
  const first = await openInstance({ site });
  const { tokens } = await enrol(first);
  const second = await openInstance({ site });
  expect(await second.identity.authenticate(tokens.accessToken)).toMatchObject({ kind: "account" });
  const again = (await enrol(second)).tokens;
  expect(kidOf(again.accessToken)).toBe(kidOf(tokens.accessToken));
});

test("processes that start at once on one folder agree on the key", async () => {
  const site = await openSite();
  const instances = await Promise.all(Array.from({ length: 5 }, () => openInstance({ site })));
  const kids = await Promise.all(instances.map(async (one) => kidOf((await enrol(one)).tokens.accessToken)));
  expect(new Set(kids).size).toBe(1);
});

test("instances with keys of their own honour each other's tokens, also of keys younger than themselves", async () => {
  const site = await openSite();
  const one = await openInstance({ site, keysFile: "one.json" });
  await enrol(one);
  const two = await openInstance({ site, keysFile: "two.json" });
  const ofOne = (await enrol(one)).tokens.accessToken;
  const ofTwo = (await enrol(two)).tokens.accessToken;
  expect(kidOf(ofOne)).not.toBe(kidOf(ofTwo));
  expect(await two.identity.authenticate(ofOne)).toMatchObject({ kind: "account" });
  expect(await one.identity.authenticate(ofTwo)).toMatchObject({ kind: "account" });
  const kids = (await two.identity.jwks()).keys.map(({ kid }) => kid);
  expect(kids.toSorted()).toEqual([kidOf(ofOne), kidOf(ofTwo)].toSorted());
});

test("a key signs for 30 days; tokens of the one before are good until they are over", async () => {
  const clock = createTestClock();
  const site = await openSite();
  const before = await openInstance({ site, clock });
  const old = (await enrol(before)).tokens;
  clock.advance(29 * DAY_MS);
  await openInstance({ site, clock });
  expect(await keysIn(before.keysFile)).toHaveLength(1);
  clock.advance(2 * DAY_MS);
  const last = await enrol(before);
  const after = await openInstance({ site, clock });
  const [first, second, ...others] = await keysIn(after.keysFile);
  expect(others).toEqual([]);
  expect(second?.kid).toBe(kidOf(old.accessToken));
  const fresh = (await enrol(after)).tokens;
  expect(kidOf(fresh.accessToken)).toBe(first?.kid);
  expect((await stat(after.keysFile)).mode & 0o777).toBe(0o600);
  // Each honours the other's, although they have read different files.
  expect(await after.identity.authenticate(last.tokens.accessToken)).toMatchObject({ kind: "account" });
  expect(await before.identity.authenticate(fresh.accessToken)).toMatchObject({ kind: "account" });
  // A day later the private half of the old one is gone, and some weeks later the public one.
  clock.advance(2 * DAY_MS);
  const later = await openInstance({ site, clock });
  expect((await keysIn(later.keysFile)).map(({ kid }) => kid)).toEqual([first?.kid]);
  clock.advance(39 * DAY_MS);
  await later.identity.forget(internalCall());
  const kids = await later.database.query<{ id: string }>("select id from signing_key");
  expect(kids).toEqual([{ id: first?.kid }]);
});

test("a key that somebody brought is used as it is, and never replaced", async () => {
  const clock = createTestClock();
  const site = await openSite();
  const file = join(site.folder, "signing-keys.json");
  const { privateKey } = generateKeyPairSync("ed25519");
  const text = JSON.stringify({ keys: [privateKey.export({ format: "jwk" })] });
  await writeFile(file, text, { mode: 0o600 });
  clock.advance(400 * DAY_MS);
  const instance = await openInstance({ site, clock });
  const { tokens } = await enrol(instance);
  expect(await instance.identity.authenticate(tokens.accessToken)).toMatchObject({ kind: "account" });
  expect(await readFile(file, "utf8")).toBe(text);
});

const rsa = generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey.export({ format: "jwk" });
const pair = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
const other = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });

test.each<[string, string, number, string]>([
  ["others can read", JSON.stringify({ keys: [pair] }), 0o640, "chmod 600"],
  ["is no JSON", "{", 0o600, "JWK set of Ed25519 keys"],
  ["holds no key", '{"keys":[]}', 0o600, "JWK set of Ed25519 keys"],
  ["holds a key of another kind", JSON.stringify({ keys: [rsa] }), 0o600, "JWK set of Ed25519 keys"],
  ["lacks the private half", JSON.stringify({ keys: [{ ...pair, d: undefined }] }), 0o600, "JWK set"],
  ["has halves of two keys", JSON.stringify({ keys: [{ ...pair, x: other.x }] }), 0o600, "belong together"],
])("a file that %s ends the start, which says what to do", async (_, text, mode, says) => {
  const site = await openSite();
  const file = join(site.folder, "signing-keys.json");
  await writeFile(file, text);
  await chmod(file, mode);
  const error = await openInstance({ site }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StartError);
  expect(String(error)).toContain(says);
  expect(String(error)).toContain(file);
  expect(String(error)).not.toContain(pair.d);
  expect(await readFile(file, "utf8")).toBe(text);
});

test("a file that is a folder, or cannot be made, ends the start too", async () => {
  const site = await openSite();
  await mkdir(join(site.folder, "folder.json"));
  await writeFile(join(site.folder, "file"), "");
  for (const keysFile of ["folder.json", "file/keys.json"]) {
    await expect(openInstance({ site, keysFile }), keysFile).rejects.toThrow(StartError);
  }
});
