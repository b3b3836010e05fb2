import { setTimeout as sleep } from "node:timers/promises";
import { type CryptoKey, importJWK } from "jose";
import { LRUCache } from "lru-cache";
import { errorMessage } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import type { JwksStore, PublicJwk } from "./jwks-store.ts";

/** The public keys of all instances as last read from the database. */
export interface PublicKeyCache {
  /** Returns the public key with this id; see `SigningKeys.find`. */
  find(kid: string, beforeLookup?: () => void): Promise<CryptoKey | undefined>;
  /** Lists the valid keys, newest first. While the database is unavailable, those that were read last. */
  list(): Promise<PublicJwk[]>;
  /** Makes the next use read the keys again. */
  expire(): void;
}

/** Monotonic time. */
export interface Timer {
  /** Returns the time in milliseconds since an arbitrary origin. */
  nowMs(): number;
  sleep(delayMs: number): Promise<void>;
}

/** Dependencies of the cache. */
export interface PublicKeyCacheOptions {
  store: Pick<JwksStore, "list">;
  log: Log;
  /** Called after each read, with the ids of the valid keys. */
  onRead: (kids: ReadonlySet<string>) => void;
  /** Defaults to the system's monotonic clock. */
  timer?: Timer | undefined;
}

/** Time for which keys are used without reading them again, in milliseconds. */
const FRESH_MS = 60_000;
/** Minimum time between two reads, so that tokens with nonexistent key ids cannot load the database, in milliseconds. */
const MIN_INTERVAL_MS = 250;
/** Minimum time between a failed read and the next one, and between two warnings, in milliseconds. */
const COOLDOWN_MS = 1_000;
/** Maximum number of cached unknown key ids, and the time for which they are cached, in milliseconds. */
const MAX_UNKNOWN_KIDS = 10_000;
const UNKNOWN_KID_MS = 10_000;
/** A SHA-256 thumbprint (RFC 7638) in base64url. */
const KID = /^[\w-]{43}$/;

const systemTimer: Timer = { nowMs: () => performance.now(), sleep: (delayMs) => sleep(delayMs) };

interface Snapshot {
  /** The time of the read by the timer, in milliseconds. */
  readAtMs: number;
  keys: ReadonlyMap<string, { jwk: PublicJwk; key: CryptoKey }>;
}

/** Creates the cache. Reads are shared by concurrent callers and limited in rate. */
export function createPublicKeyCache(options: PublicKeyCacheOptions): PublicKeyCache {
  const { store, log, onRead, timer = systemTimer } = options;
  const unknownKids = new LRUCache<string, true>({ max: MAX_UNKNOWN_KIDS, ttl: UNKNOWN_KID_MS });
  let snapshot: Snapshot = { readAtMs: Number.NEGATIVE_INFINITY, keys: new Map() };
  let failedAtMs = Number.NEGATIVE_INFINITY;
  let warnedAtMs = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;

  function read(): Promise<void> {
    reading ??= readOnce().finally(() => {
      reading = undefined;
    });
    return reading;
  }

  async function readOnce(): Promise<void> {
    const waitMs = Math.max(snapshot.readAtMs, failedAtMs) + MIN_INTERVAL_MS - timer.nowMs();
    if (waitMs > 0) await timer.sleep(waitMs);
    const readAtMs = timer.nowMs();
    const jwks = await store.list().catch(recordFailure);
    const entries = jwks.map(async (jwk) => [jwk.kid, { jwk, key: await importEd25519(jwk) }] as const);
    snapshot = { readAtMs, keys: new Map(await Promise.all(entries)) };
    onRead(new Set(snapshot.keys.keys()));
  }

  function recordFailure(error: unknown): never {
    failedAtMs = timer.nowMs();
    if (snapshot.keys.size > 0 && failedAtMs - warnedAtMs >= COOLDOWN_MS) {
      warnedAtMs = failedAtMs;
      log.warn({ cause: rootMessage(error) }, "Reading the signing keys failed, cached ones are used");
    }
    throw error;
  }

  /** Returns a fresh snapshot, or the last one while the database is unavailable. */
  async function current(): Promise<Snapshot> {
    const hasKeys = snapshot.keys.size > 0;
    if (timer.nowMs() - snapshot.readAtMs < FRESH_MS) return snapshot;
    if (hasKeys && timer.nowMs() - failedAtMs < COOLDOWN_MS) return snapshot;
    try {
      await read();
    } catch (error) {
      if (!hasKeys) throw error;
    }
    return snapshot;
  }

  return {
    async find(kid, beforeLookup) {
      if (!KID.test(kid) || unknownKids.has(kid)) return undefined;
      // Without keys a read is due for any token.
      if (snapshot.keys.size > 0 && !snapshot.keys.has(kid)) beforeLookup?.();
      const requestedAtMs = timer.nowMs();
      const found = (await current()).keys.get(kid);
      if (found !== undefined) return found.key;
      // A read that began before this request may miss a key that was published in between.
      while (snapshot.readAtMs < requestedAtMs) await read();
      const published = snapshot.keys.get(kid);
      if (published === undefined) unknownKids.set(kid, true);
      return published?.key;
    },

    async list() {
      return [...(await current()).keys.values()].map(({ jwk }) => jwk);
    },

    expire() {
      snapshot = { ...snapshot, readAtMs: Number.NEGATIVE_INFINITY };
    },
  };
}

/** Imports an Ed25519 key: the public half or, with `d`, the private one. @throws Error for another key */
export async function importEd25519(jwk: {
  kty: "OKP";
  crv: "Ed25519";
  x: string;
  d?: string;
}): Promise<CryptoKey> {
  const { kty, crv, x, d } = jwk;
  const key = await importJWK(d === undefined ? { kty, crv, x } : { kty, crv, x, d }, "EdDSA");
  if (key instanceof Uint8Array) throw new Error("a symmetric key cannot sign access tokens");
  return key;
}

/** Returns the message of an error's cause, or of the error itself. */
function rootMessage(error: unknown): string {
  return errorMessage(error instanceof Error && error.cause !== undefined ? error.cause : error);
}
