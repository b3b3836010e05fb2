import { generateKeyPairSync } from "node:crypto";
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { internalCall } from "../../../../src/kernel/call.ts";
import { DAY_MS } from "../../../../src/kernel/durations.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";
import {
  createSharedStores,
  credentialStatus,
  openIdentity,
  registerAccount,
  signingKeyId,
} from "../../../support/identity/identity-instance.ts";
import { createTestClock } from "../../../support/identity/test-clock.ts";

const readKeys = async (file: string): Promise<{ kid: string }[]> =>
  JSON.parse(await readFile(file, "utf8")).keys;
const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;
const generateJwk = () => generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });

const jwk = generateJwk();
const otherJwk = generateJwk();
const rsaJwk = generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey.export({ format: "jwk" });

describe("the key file", () => {
  test("the first start creates a key file and a folder that only their owner can read", async () => {
    const { keysFile } = await openIdentity({ keysFile: "new/folder/keys.json" });
    expect(await modeOf(keysFile)).toBe(0o600);
    expect(await modeOf(dirname(keysFile))).toBe(0o700);
    expect(await readdir(dirname(keysFile))).toEqual(["keys.json"]);
  });

  test("a later start uses the same key", async () => {
    const stores = await createSharedStores();
    const first = await openIdentity({ stores });
    const { tokens } = await registerAccount(first);
    const second = await openIdentity({ stores });
    expect(await credentialStatus(second, tokens.accessToken)).toBe("VALID");
    const later = (await registerAccount(second)).tokens;
    expect(signingKeyId(later.accessToken)).toBe(signingKeyId(tokens.accessToken));
  });

  test("instances that start concurrently with one key file use the same key", async () => {
    const stores = await createSharedStores();
    const instances = await Promise.all(Array.from({ length: 5 }, () => openIdentity({ stores })));
    const accounts = await Promise.all(instances.map((instance) => registerAccount(instance)));
    const kids = accounts.map(({ tokens }) => signingKeyId(tokens.accessToken));
    expect(new Set(kids).size).toBe(1);
  });

  test("a generated key is replaced after 30 days; its tokens stay valid until they expire", async () => {
    const clock = createTestClock();
    const stores = await createSharedStores();
    const before = await openIdentity({ stores, clock });
    const oldKid = signingKeyId((await registerAccount(before)).tokens.accessToken);
    clock.advance(29 * DAY_MS);
    await openIdentity({ stores, clock });
    expect(await readKeys(before.keysFile)).toHaveLength(1);
    clock.advance(2 * DAY_MS);
    const withOldKey = (await registerAccount(before)).tokens.accessToken;
    const after = await openIdentity({ stores, clock });
    const kids = (await readKeys(after.keysFile)).map(({ kid }) => kid);
    const withNewKey = (await registerAccount(after)).tokens.accessToken;
    const newKid = signingKeyId(withNewKey);
    expect(kids).toEqual([newKid, oldKid]);
    expect(await modeOf(after.keysFile)).toBe(0o600);
    expect(await credentialStatus(after, withOldKey)).toBe("VALID");
    expect(await credentialStatus(before, withNewKey)).toBe("VALID");
    // The private half is deleted after a day, and the public half after some weeks.
    clock.advance(2 * DAY_MS);
    const later = await openIdentity({ stores, clock });
    expect((await readKeys(later.keysFile)).map(({ kid }) => kid)).toEqual([newKid]);
    clock.advance(39 * DAY_MS);
    await later.identity.purgeExpired(internalCall());
    const rows = await later.database.query<{ id: string }>("select id from signing_key");
    expect(rows).toEqual([{ id: newKid }]);
  });

  test("a key that the service did not generate is used as it is and never replaced", async () => {
    const clock = createTestClock();
    const stores = await createSharedStores();
    const file = join(stores.folder, "signing-keys.json");
    const text = JSON.stringify({ keys: [jwk] });
    await writeFile(file, text, { mode: 0o600 });
    clock.advance(400 * DAY_MS);
    const instance = await openIdentity({ stores, clock });
    const { tokens } = await registerAccount(instance);
    expect(await credentialStatus(instance, tokens.accessToken)).toBe("VALID");
    expect(await readFile(file, "utf8")).toBe(text);
  });

  test.each(["400", "440", "640"])(
    "a key file of mode 0%s, as secrets are mounted, is accepted",
    async (mode) => {
      const stores = await createSharedStores();
      const file = join(stores.folder, "signing-keys.json");
      await writeFile(file, JSON.stringify({ keys: [jwk] }));
      await chmod(file, Number.parseInt(mode, 8));
      await registerAccount(await openIdentity({ stores }));
    },
  );

  test.each<[string, string, number, string]>([
    ["is readable by others", JSON.stringify({ keys: [jwk] }), 0o604, "chmod 600"],
    ["is writable by others", JSON.stringify({ keys: [jwk] }), 0o602, "chmod 600"],
    ["is writable by its group", JSON.stringify({ keys: [jwk] }), 0o660, "chmod 600"],
    ["may have leaked", JSON.stringify({ keys: [jwk] }), 0o644, "revoke-signing-key --id="],
    ["is no JSON", "{", 0o600, "JWK set of Ed25519 keys"],
    ["holds no key", '{"keys":[]}', 0o600, "JWK set of Ed25519 keys"],
    ["holds a key of another type", JSON.stringify({ keys: [rsaJwk] }), 0o600, "JWK set of Ed25519 keys"],
    ["lacks the private half", JSON.stringify({ keys: [{ ...jwk, d: undefined }] }), 0o600, "JWK set"],
    ["has halves of two keys", JSON.stringify({ keys: [{ ...jwk, x: otherJwk.x }] }), 0o600, "do not match"],
  ])(
    "a key file that %s fails the start with an error that says what to do",
    async (_, text, mode, advice) => {
      const stores = await createSharedStores();
      const file = join(stores.folder, "signing-keys.json");
      await writeFile(file, text);
      await chmod(file, mode);
      const error = await openIdentity({ stores }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(StartupError);
      expect(String(error)).toContain(advice);
      expect(String(error)).toContain(file);
      expect(String(error)).not.toContain(jwk.d);
      expect(await readFile(file, "utf8")).toBe(text);
    },
  );

  test("a key file that is a folder or cannot be created fails the start", async () => {
    const stores = await createSharedStores();
    await mkdir(join(stores.folder, "folder.json"));
    await writeFile(join(stores.folder, "file"), "");
    for (const keysFile of ["folder.json", "file/keys.json"]) {
      await expect(openIdentity({ stores, keysFile }), keysFile).rejects.toThrow(StartupError);
    }
  });
});
