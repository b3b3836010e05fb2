import { randomUUID } from "node:crypto";
import { link, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from "jose";
import { z } from "zod";
import { StartupError } from "../../kernel/errors.ts";

/** An Ed25519 key pair as a JWK (RFC 8037). */
export interface SigningKey {
  kty: "OKP";
  crv: "Ed25519";
  /** The public half, and the private one. */
  x: string;
  d: string;
  /** RFC 7638's thumbprint of the public half, whatever the file says. */
  kid: string;
  /** When it was made here, seconds since 1970. Absent for keys that somebody brought, which are left as they are. */
  iat?: number | undefined;
}

const fileSchema = z.object({
  keys: z
    .array(
      z.object({
        kty: z.literal("OKP"),
        crv: z.literal("Ed25519"),
        x: z.string().regex(/^[\w-]{43}$/),
        d: z.string().regex(/^[\w-]{43}$/),
        iat: z.number().optional(),
      }),
    )
    .min(1),
});

/** A key signs for so long before the next one does, and the one before it is kept for so long, seconds. */
const ROTATE_SECONDS = 30 * 24 * 3_600;
const KEEP_SECONDS = 24 * 3_600;
/** What the group may not do, which is to write, and others, which is anything. Mounted secrets are often 0440. */
const FORBIDDEN = 0o027;

/**
 * The keys of a file, the one that signs first. The file is made when there is none, and its keys are replaced in
 * time, unless it can only be read: then that is the operator's.
 * @param nowMs milliseconds since 1970
 * @throws StartError for a file that others can read, that holds no such keys or cannot be made
 */
export async function openKeyFile(path: string, nowMs: number): Promise<SigningKey[]> {
  const keys = (await read(path)) ?? (await create(path, nowMs));
  const next = await renewed(keys, nowMs);
  if (next === undefined || !(await replace(path, next))) return keys;
  // Of two processes that replace it at once, the other one's may be there by now.
  return (await read(path)) ?? next;
}

/**
 * The keys of the file once its first one was revoked: a new one in its place, or what somebody has put there by now.
 * @throws StartError when that is not ours to do
 */
export async function withoutRevoked(path: string, kid: string, nowMs: number): Promise<SigningKey[]> {
  const keys = (await read(path)) ?? (await create(path, nowMs));
  const [first] = keys;
  if (first === undefined || first.kid !== kid) return keys;
  const next = [await make(nowMs)];
  if (first.iat === undefined || !(await replace(path, next))) {
    throw new StartupError(`The first key in ${path} is revoked. Put another one in its place.`);
  }
  // Of two processes that replace it at once, the other one's may be there by now.
  return (await read(path)) ?? next;
}

/** What the file should hold now; undefined: what it does. */
async function renewed(keys: SigningKey[], nowMs: number): Promise<SigningKey[] | undefined> {
  const [first, ...older] = keys;
  if (first?.iat === undefined || older.some(({ iat }) => iat === undefined)) return undefined;
  const ageSeconds = nowMs / 1_000 - first.iat;
  if (ageSeconds > ROTATE_SECONDS) return [await make(nowMs), first];
  // Tokens of those before it are over.
  return ageSeconds > KEEP_SECONDS && older.length > 0 ? [first] : undefined;
}

async function make(nowMs: number): Promise<SigningKey> {
  const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const { x = "", d = "" } = await exportJWK(privateKey);
  return named({ kty: "OKP", crv: "Ed25519", x, d, iat: Math.floor(nowMs / 1_000) });
}

async function named(key: Omit<SigningKey, "kid">): Promise<SigningKey> {
  const { kty, crv, x } = key;
  return { ...key, kid: await calculateJwkThumbprint({ kty, crv, x }) };
}

async function read(path: string): Promise<SigningKey[] | undefined> {
  const file = await contents(path);
  if (file === undefined) return undefined;
  const { data } = fileSchema.safeParse(parsed(file.text));
  if (data === undefined) {
    throw new StartupError(
      `${path} does not hold signing keys: a JWK set of Ed25519 keys, each with kty, crv, x and d. Mend it, or delete it, and a new one is made.`,
    );
  }
  const keys = await Promise.all(data.keys.map(named));
  if (process.platform === "win32" || (file.mode & FORBIDDEN) === 0) return keys;
  const revoke = keys.map(({ kid }) => `npm run admin -- revoke-signing-key --id=${kid}`).join("; ");
  throw new StartupError(
    `The signing keys in ${path} can be read by others, or written by its group: chmod 600 ${path}. If somebody may have done so, take them out of use as well: ${revoke}.`,
  );
}

/** The text of the file, and what may be done with it; undefined when there is none. */
async function contents(path: string): Promise<{ text: string; mode: number } | undefined> {
  try {
    const file = await open(path, "r");
    try {
      const { mode } = await file.stat();
      return { text: await file.readFile("utf8"), mode };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new StartupError(`The signing keys in ${path} cannot be read: ${messageOf(error)}.`);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Makes the file, unless another process does at the same time: then that one's counts. */
async function create(path: string, nowMs: number): Promise<SigningKey[]> {
  const keys = [await make(nowMs)];
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await besides(path, keys, (draft) => link(draft, path));
  } catch (error) {
    if (codeOf(error) !== "EEXIST") {
      throw new StartupError(
        `The signing keys cannot be written to ${path}: ${messageOf(error)}. Name another file by SIGNING_KEYS_FILE.`,
      );
    }
  }
  return (await read(path)) ?? keys;
}

/** @returns false when it can only be read */
async function replace(path: string, keys: SigningKey[]): Promise<boolean> {
  try {
    await besides(path, keys, (draft) => rename(draft, path));
    return true;
  } catch (error) {
    if (READ_ONLY.has(codeOf(error))) return false;
    throw error;
  }
}

const READ_ONLY: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS"]);

/** Writes whole what is then put in its place: nobody ever reads half a file. */
async function besides(
  path: string,
  keys: SigningKey[],
  put: (draft: string) => Promise<void>,
): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  const members = keys.map((key) => ({ ...key, alg: "EdDSA", use: "sig" }));
  try {
    const file = await open(draft, "wx", 0o600);
    try {
      await file.writeFile(`${JSON.stringify({ keys: members }, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await put(draft);
  } finally {
    await rm(draft, { force: true });
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
