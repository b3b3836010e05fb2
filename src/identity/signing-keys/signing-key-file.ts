import { exportJWK, generateKeyPair } from "jose";
import { StartupError } from "../../kernel/errors.ts";
import {
  createKeyFile,
  type PrivateJwk,
  readKeyFile,
  replaceKeyFile,
  withKid,
} from "./signing-key-storage.ts";

/** Age at which a generated key is replaced, in seconds. */
const ROTATION_SECONDS = 30 * 24 * 3_600;
/** Time for which the file keeps the previous key after a rotation, in seconds. */
const PREVIOUS_KEY_SECONDS = 24 * 3_600;

/**
 * Returns the keys of a file, the signing key first. Creates the file when there is none, and rotates generated keys.
 * A key that the service did not generate, or a read-only file, is left as it is.
 * @param nowMs milliseconds since 1970
 * @throws StartupError for a file that others can read, that is invalid or cannot be created
 */
export async function openKeyFile(path: string, nowMs: number): Promise<PrivateJwk[]> {
  const keys = await readOrCreate(path, nowMs);
  const next = await rotate(keys, nowMs);
  if (next === undefined || !(await replaceKeyFile(path, next))) return keys;
  // Another process may have replaced the file at the same time: then its keys count.
  return (await readKeyFile(path)) ?? next;
}

/**
 * Replaces the signing key of a file after its revocation, unless it has been replaced already.
 * @returns the keys of the file, the signing key first
 * @throws StartupError for a key that the service did not generate, and for a read-only file
 */
export async function replaceRevokedKey(path: string, kid: string, nowMs: number): Promise<PrivateJwk[]> {
  const keys = await readOrCreate(path, nowMs);
  const [first] = keys;
  if (first === undefined || first.kid !== kid) return keys;
  const next = [await generateKey(nowMs)];
  if (first.iat === undefined || !(await replaceKeyFile(path, next))) {
    throw new StartupError(`The first key in ${path} is revoked. Replace it with another one.`);
  }
  return (await readKeyFile(path)) ?? next;
}

async function readOrCreate(path: string, nowMs: number): Promise<PrivateJwk[]> {
  return (await readKeyFile(path)) ?? (await createKeyFile(path, [await generateKey(nowMs)]));
}

/** Returns the keys after a rotation or the removal of the previous key; undefined when neither is due. */
async function rotate(keys: PrivateJwk[], nowMs: number): Promise<PrivateJwk[] | undefined> {
  const [first, ...previous] = keys;
  if (first?.iat === undefined || previous.some(({ iat }) => iat === undefined)) return undefined;
  const ageSeconds = nowMs / 1_000 - first.iat;
  if (ageSeconds > ROTATION_SECONDS) return [await generateKey(nowMs), first];
  // By now the tokens that the previous key signed have expired.
  return ageSeconds > PREVIOUS_KEY_SECONDS && previous.length > 0 ? [first] : undefined;
}

async function generateKey(nowMs: number): Promise<PrivateJwk> {
  const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const { x = "", d = "" } = await exportJWK(privateKey);
  return withKid({ kty: "OKP", crv: "Ed25519", x, d, iat: Math.floor(nowMs / 1_000) });
}
