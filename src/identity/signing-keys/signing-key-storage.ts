import { randomUUID } from "node:crypto";
import { link, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { calculateJwkThumbprint } from "jose";
import { z } from "zod";
import { errorCode, errorMessage, StartupError } from "../../kernel/errors.ts";

/** An Ed25519 key pair as a JWK (RFC 8037). */
export interface PrivateJwk {
  kty: "OKP";
  crv: "Ed25519";
  /** The public half. */
  x: string;
  /** The private half. */
  d: string;
  /** The thumbprint of the public half (RFC 7638), which replaces that of the file. */
  kid: string;
  /** Time at which the service generated the key, in seconds since 1970. Absent for other keys, which are never replaced. */
  iat?: number | undefined;
}

const base64url32 = z.string().regex(/^[\w-]{43}$/);
const fileSchema = z.object({
  keys: z
    .array(
      z.object({
        kty: z.literal("OKP"),
        crv: z.literal("Ed25519"),
        x: base64url32,
        d: base64url32,
        iat: z.number().optional(),
      }),
    )
    .min(1),
});

/** Permissions that a key file must not give: write to its group, any to others. Mounted secrets are often 0440. */
const FORBIDDEN_MODE = 0o027;
/** Error codes of writing to a read-only file or folder. */
const READ_ONLY_CODES: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS"]);

/** Returns the keys of a file; undefined when there is none. @throws StartupError when it is unsafe or invalid */
export async function readKeyFile(path: string): Promise<PrivateJwk[] | undefined> {
  const file = await readTextAndMode(path);
  if (file === undefined) return undefined;
  const { data } = fileSchema.safeParse(parseJson(file.text));
  if (data === undefined) {
    throw new StartupError(
      `${path} is not a signing key file. It must be a JWK set of Ed25519 keys, each with kty, crv, x and d. Correct it, or delete it to have a new one generated.`,
    );
  }
  const keys = await Promise.all(data.keys.map(withKid));
  if (process.platform === "win32" || (file.mode & FORBIDDEN_MODE) === 0) return keys;
  const commands = keys.map(({ kid }) => `npm run admin -- revoke-signing-key --id=${kid}`).join("; ");
  throw new StartupError(
    `The signing keys in ${path} are accessible to other users or writable by its group. Run: chmod 600 ${path}. If the keys may have leaked, revoke them too: ${commands}.`,
  );
}

/**
 * Creates a key file that only its owner can read. When another process creates it first, that file is used.
 * @returns the keys of the file
 * @throws StartupError when it cannot be written
 */
export async function createKeyFile(path: string, keys: PrivateJwk[]): Promise<PrivateJwk[]> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeAtomically(path, keys, (temporaryFile) => link(temporaryFile, path));
  } catch (error) {
    if (errorCode(error) !== "EEXIST") {
      throw new StartupError(
        `Cannot write the signing keys to ${path}: ${errorMessage(error)}. Set SIGNING_KEYS_FILE to another path.`,
      );
    }
  }
  return (await readKeyFile(path)) ?? keys;
}

/** Replaces a key file. @returns false when it is read-only */
export async function replaceKeyFile(path: string, keys: PrivateJwk[]): Promise<boolean> {
  try {
    await writeAtomically(path, keys, (temporaryFile) => rename(temporaryFile, path));
    return true;
  } catch (error) {
    if (READ_ONLY_CODES.has(errorCode(error))) return false;
    throw error;
  }
}

/** Returns the key with its id. */
export async function withKid(key: Omit<PrivateJwk, "kid">): Promise<PrivateJwk> {
  const { kty, crv, x } = key;
  return { ...key, kid: await calculateJwkThumbprint({ kty, crv, x }) };
}

/** Returns the content of a file and its mode; undefined when there is none. */
async function readTextAndMode(path: string): Promise<{ text: string; mode: number } | undefined> {
  try {
    const file = await open(path, "r");
    try {
      const { mode } = await file.stat();
      return { text: await file.readFile("utf8"), mode };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw new StartupError(`Cannot read the signing keys in ${path}: ${errorMessage(error)}.`);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Writes a complete temporary file and then publishes it, so that no reader sees an incomplete one.
 * @param publish links or renames the temporary file
 */
async function writeAtomically(
  path: string,
  keys: PrivateJwk[],
  publish: (temporaryFile: string) => Promise<void>,
): Promise<void> {
  const temporaryFile = `${path}.${randomUUID()}`;
  const jwks = { keys: keys.map((key) => ({ ...key, alg: "EdDSA", use: "sig" })) };
  try {
    const file = await open(temporaryFile, "wx", 0o600);
    try {
      await file.writeFile(`${JSON.stringify(jwks, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await publish(temporaryFile);
  } finally {
    await rm(temporaryFile, { force: true });
  }
}
