import { randomBytes } from "node:crypto";
import { hash, type Options, parseOptions, verify } from "@node-rs/argon2";
import { createSemaphore } from "../../infra/postgres/semaphore.ts";
import { AppError } from "../../kernel/errors.ts";

/**
 * What a hash costs: 19 MiB of memory (here KiB) in two passes of one lane, as the OWASP Password Storage Cheat Sheet
 * asks of Argon2id, which is this library's default.
 */
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } satisfies Options;
/** How many are computed at once: Node has four threads for this, and others need them too. */
const AT_ONCE = 2;
/** How many may wait for that, and how long, milliseconds. */
const MAX_IN_LINE = 32;
const MAX_WAIT_MS = 2_000;
const SALT_BYTES = 16;
const HASH_BYTES = 32;

/** Hashes of passwords, by Argon2id. Compatible forms of a character are the same (Unicode NFKC). */
export interface PasswordHasher {
  /** @throws UNAVAILABLE when too many wait */
  hash(password: string, signal: AbortSignal): Promise<string>;
  /**
   * Whether this password has this hash. Without a hash it takes as long, and is false.
   * @throws UNAVAILABLE when too many wait
   */
  verify(hashed: string | undefined, password: string, signal: AbortSignal): Promise<boolean>;
  /** Whether a hash was made at another cost than hashes are now. */
  needsRehash(hashed: string): boolean;
}

/** Computes few at once, so that sign-ins cannot starve the rest of the shop. */
export function createPasswordHasher(): PasswordHasher {
  const gate = createSemaphore(AT_ONCE, MAX_WAIT_MS, busy);
  // Of no password that anybody knows.
  const nobodys = `$argon2id$v=19$m=${COST.memoryCost},t=${COST.timeCost},p=${COST.parallelism}$${random(SALT_BYTES)}$${random(HASH_BYTES)}`;
  let present = 0;

  async function inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (present >= AT_ONCE + MAX_IN_LINE) throw busy();
    present += 1;
    try {
      await gate.acquire(signal);
      return await work().finally(() => gate.release());
    } finally {
      present -= 1;
    }
  }

  return {
    hash: (password, signal) => inTurn(signal, () => hash(normal(password), COST)),
    async verify(hashed, password, signal) {
      const isRight = await inTurn(signal, () => verify(hashed ?? nobodys, normal(password)));
      return hashed !== undefined && isRight;
    },
    needsRehash(hashed) {
      const { memoryCost, timeCost, parallelism } = parseOptions(hashed);
      return memoryCost !== COST.memoryCost || timeCost !== COST.timeCost || parallelism !== COST.parallelism;
    },
  };
}

const normal = (password: string): string => password.normalize("NFKC");

/** As Argon2's own notation has it: base64 without padding. */
const random = (bytes: number): string => randomBytes(bytes).toString("base64").replace(/=+$/, "");

function busy(): AppError {
  return new AppError(
    "unavailable",
    "Too many passwords are being checked at this moment. Try again in a second.",
    { reason: "PASSWORDS_BUSY", retryAfterMs: 1_000 },
  );
}
