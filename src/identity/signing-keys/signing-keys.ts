import { setTimeout as sleep } from "node:timers/promises";
import { type CryptoKey, importJWK } from "jose";
import { LRUCache } from "lru-cache";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { StartupError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { createJwksStore, type PublicKey } from "./jwks-store.ts";
import { openKeyFile, type SigningKey, withoutRevoked } from "./signing-key-file.ts";

export type { PublicKey };

/** The keys of all instances, and the one by which this one signs. */
export interface SigningKeys {
  /** By which access tokens are signed here at this moment. */
  current(): { kid: string; key: CryptoKey };
  /**
   * The public key of this name; undefined when there is none.
   * @param beforeAsking called before the database is asked on account of this name. What it throws is thrown
   */
  find(kid: string, beforeAsking?: () => void): Promise<CryptoKey | undefined>;
  jwks(): Promise<{ keys: PublicKey[] }>;
  /** Deletes those that are over. */
  purgeExpired(call: Call): Promise<void>;
  close(): Promise<void>;
}

export interface SigningKeysOptions {
  db: Database;
  clock: Clock;
  /** Where the keys of this instance are; others may have their own. */
  file: string;
  log: Log;
}

/** How often the file is read anew, and the key that signs is published, milliseconds. */
const TEND_MS = 24 * 3_600_000;
/** How long what was read of others' keys counts, milliseconds. */
const FRESH_MS = 60_000;
/** How much time passes between two questions for keys that nobody knows, milliseconds. */
const PAUSE_MS = 250;
/** How long those that are known do when the database did not answer, before it is asked again, milliseconds. */
const REST_MS = 1_000;
/** How many names are remembered of which there is no key, and how long, milliseconds. Keys are published first. */
const MAX_ABSENT = 10_000;
const ABSENT_MS = 10_000;
/** A thumbprint by SHA-256. */
const KID = /^[\w-]{43}$/;

/** What is known of all keys, and when that was asked for, in milliseconds of `performance.now()`. */
interface Known {
  atMs: number;
  keys: ReadonlyMap<string, { shown: PublicKey; key: CryptoKey }>;
}

/**
 * Opens this instance's keys, and publishes its own to the others.
 * @throws StartError for a file that is not as it must be
 */
export async function createSigningKeys(options: SigningKeysOptions): Promise<SigningKeys> {
  const { clock, file, log } = options;
  const published = createJwksStore(options);
  const absent = new LRUCache<string, true>({ max: MAX_ABSENT, ttl: ABSENT_MS });
  let known: Known = { atMs: Number.NEGATIVE_INFINITY, keys: new Map() };
  /** When the database was asked and did not answer, in milliseconds of `performance.now()`. */
  let failedAtMs = Number.NEGATIVE_INFINITY;
  let tellAtMs = 0;
  let asking: Promise<void> | undefined;
  let looking: Promise<void> | undefined;
  let signing = await tend();
  const timer = setInterval(look, TEND_MS).unref();

  /** Reads the file, replaces keys whose time has come or that are revoked, and publishes the one that signs. */
  async function tend(): Promise<{ kid: string; key: CryptoKey }> {
    const nowMs = clock.now().getTime();
    let [first] = await openKeyFile(file, nowMs);
    if (first !== undefined && !(await published.publish(first))) {
      [first] = await withoutRevoked(file, first.kid, nowMs);
      if (first !== undefined && !(await published.publish(first))) throw revokedToo(file);
    }
    if (first === undefined) throw new StartupError(`${file} holds no key.`);
    known = { ...known, atMs: Number.NEGATIVE_INFINITY };
    return { kid: first.kid, key: await privateKeyOf(first, file) };
  }

  function look(): void {
    looking ??= tend()
      .then(
        (key) => {
          signing = key;
        },
        (error: unknown) => log.warn({ err: error }, "could not look after the signing keys; will try again"),
      )
      .finally(() => {
        looking = undefined;
      });
  }

  /** Asks the database, for all who want to know at this moment, and not too often, whether it answers or not. */
  function ask(): Promise<void> {
    asking ??= (async () => {
      const waitMs = Math.max(known.atMs, failedAtMs) + PAUSE_MS - performance.now();
      if (waitMs > 0) await sleep(waitMs);
      const atMs = performance.now();
      const shown = await published.all().catch(noteFailure);
      const pairs = shown.map(async (one) => [one.kid, { shown: one, key: await publicKeyOf(one) }] as const);
      known = { atMs, keys: new Map(await Promise.all(pairs)) };
      // It was revoked: the tokens that are made here are no good until there is another one.
      if (!known.keys.has(signing.kid)) look();
    })().finally(() => {
      asking = undefined;
    });
    return asking;
  }

  /** Tells of it once for all who asked, and once a second at most. */
  function noteFailure(error: unknown): never {
    const nowMs = performance.now();
    if (known.keys.size > 0 && nowMs >= tellAtMs) {
      tellAtMs = nowMs + REST_MS;
      const message = "could not read the signing keys of others; going on with those that are known";
      log.warn({ cause: sentenceOf(error) }, message);
    }
    failedAtMs = nowMs;
    throw error;
  }

  /** What is known and not old; while the database is away, what was known last. */
  async function recent(): Promise<Known> {
    if (performance.now() - known.atMs < FRESH_MS) return known;
    const isAway = performance.now() - failedAtMs < REST_MS;
    if (isAway && known.keys.size > 0) return known;
    try {
      await ask();
    } catch (error) {
      if (known.keys.size === 0) throw error;
    }
    return known;
  }

  return {
    current: () => signing,

    async find(kid, beforeAsking) {
      if (!KID.test(kid) || absent.has(kid)) return undefined;
      // Before anything is known one must ask, whatever the name.
      if (known.keys.size > 0 && !known.keys.has(kid)) beforeAsking?.();
      const askedAtMs = performance.now();
      const found = (await recent()).keys.get(kid);
      if (found !== undefined) return found.key;
      // One that was published a moment ago is not missed by an answer to an earlier question.
      while (known.atMs < askedAtMs) await ask();
      const late = known.keys.get(kid);
      if (late === undefined) absent.set(kid, true);
      return late?.key;
    },

    async jwks() {
      return { keys: [...(await recent()).keys.values()].map(({ shown }) => shown) };
    },

    purgeExpired: published.purgeExpired,

    async close() {
      clearInterval(timer);
      await looking;
    },
  };
}

/** What an error says, and what it came from: a stack says nothing here. */
function sentenceOf(error: unknown): string {
  const first = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return first instanceof Error ? first.message || first.name : String(first);
}

function revokedToo(file: string): StartupError {
  return new StartupError(`The signing keys in ${file} are revoked, one after the other. Start again.`);
}

async function privateKeyOf({ kty, crv, x, d }: SigningKey, file: string): Promise<CryptoKey> {
  try {
    return await imported({ kty, crv, x, d });
  } catch {
    throw new StartupError(
      `The first key in ${file} is no Ed25519 key: x and d do not belong together. Mend it.`,
    );
  }
}

const publicKeyOf = ({ kty, crv, x }: PublicKey): Promise<CryptoKey> => imported({ kty, crv, x });

async function imported(jwk: { kty: "OKP"; crv: string; x: string; d?: string }): Promise<CryptoKey> {
  const key = await importJWK(jwk, "EdDSA");
  if (key instanceof Uint8Array) throw new Error("a key of bytes alone signs nothing");
  return key;
}
