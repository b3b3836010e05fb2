import { randomBytes } from "node:crypto";
import { hash, type Options, parseOptions, verify } from "@node-rs/argon2";
import { createSemaphore } from "../../infra/postgres/connection/semaphore.ts";
import { AppError } from "../../kernel/errors.ts";

/**
 * Cost of a hash: 19 MiB of memory (here in KiB), two passes, one lane. The OWASP Password Storage Cheat Sheet
 * recommends it for Argon2id, which is the library's default algorithm.
 */
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } satisfies Options;
/** Maximum concurrent hashes: libuv has four threads, and file and DNS operations need them too. */
const MAX_CONCURRENT = 2;
/** Maximum number of waiting hashes. */
const MAX_QUEUED = 32;
const MAX_WAIT_MS = 2_000;
const SALT_BYTES = 16;
const HASH_BYTES = 32;

/** Argon2id hashes of passwords. Passwords that are equal after Unicode NFKC normalization have the same hash. */
export interface PasswordHasher {
  /** Returns the hash of a password. @throws AppError unavailable when too many hashes are queued */
  hash(password: string, signal: AbortSignal): Promise<string>;
  /**
   * Returns whether a password has this hash. Without a hash it takes the same time and returns false.
   * @throws AppError unavailable when too many hashes are queued
   */
  verify(passwordHash: string | undefined, password: string, signal: AbortSignal): Promise<boolean>;
  /** Returns whether the cost of a hash differs from that of new hashes. */
  needsRehash(passwordHash: string): boolean;
}

/** Creates a hasher with bounded concurrency and a bounded queue, so that sign-ins cannot starve other calls. */
export function createPasswordHasher(): PasswordHasher {
  const semaphore = createSemaphore(MAX_CONCURRENT, MAX_WAIT_MS, hasherBusy);
  const dummyHash = randomHash();
  let pending = 0;

  async function runQueued<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (pending >= MAX_CONCURRENT + MAX_QUEUED) throw hasherBusy();
    pending += 1;
    try {
      await semaphore.acquire(signal);
      return await work().finally(() => semaphore.release());
    } finally {
      pending -= 1;
    }
  }

  return {
    hash: (password, signal) => runQueued(signal, () => hash(normalize(password), COST)),
    async verify(passwordHash, password, signal) {
      const matches = await runQueued(signal, () => verify(passwordHash ?? dummyHash, normalize(password)));
      return passwordHash !== undefined && matches;
    },
    needsRehash(passwordHash) {
      const { memoryCost, timeCost, parallelism } = parseOptions(passwordHash);
      return memoryCost !== COST.memoryCost || timeCost !== COST.timeCost || parallelism !== COST.parallelism;
    },
  };
}

const normalize = (password: string): string => password.normalize("NFKC");

/** Returns the hash of an unknown password, in the PHC string format. */
function randomHash(): string {
  const { memoryCost, timeCost, parallelism } = COST;
  const salt = randomBase64(SALT_BYTES);
  return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${salt}$${randomBase64(HASH_BYTES)}`;
}

/** Returns base64 without padding, as the PHC string format has it. */
const randomBase64 = (bytes: number): string => randomBytes(bytes).toString("base64").replace(/=+$/, "");

function hasherBusy(): AppError {
  return new AppError("unavailable", "Too many password checks are in progress. Retry in 1 s.", {
    reason: "PASSWORDS_BUSY",
    retryAfterMs: 1_000,
  });
}
