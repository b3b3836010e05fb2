import type { CryptoKey } from "jose";
import type { Database } from "../../infra/postgres/postgres.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { DAY_MS } from "../../kernel/durations.ts";
import { StartupError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { createJwksStore, type PublicJwk } from "./jwks-store.ts";
import { createPublicKeyCache, importEd25519, type Timer } from "./public-key-cache.ts";
import { openKeyFile, replaceRevokedKey } from "./signing-key-file.ts";
import type { PrivateJwk } from "./signing-key-storage.ts";

export type { PublicJwk };

/** The key that signs this instance's access tokens. */
export interface SigningKey {
  kid: string;
  key: CryptoKey;
}

/** The signing key of this instance, and the public keys of all instances. */
export interface SigningKeys {
  /** Returns the key that signs access tokens now. */
  current(): SigningKey;
  /**
   * Returns the public key with this id; undefined when no valid key has it.
   * @param beforeLookup called before the database is queried for an unknown id; what it throws is rethrown
   */
  find(kid: string, beforeLookup?: () => void): Promise<CryptoKey | undefined>;
  /** Returns the valid public keys as a JWK set (RFC 7517). */
  jwks(): Promise<{ keys: PublicJwk[] }>;
  /** Deletes expired public keys. */
  purgeExpired(call: Call): Promise<void>;
  /** Stops the rotation. */
  close(): Promise<void>;
}

/** Dependencies of the signing keys. */
export interface SigningKeysOptions {
  db: Database;
  clock: Clock;
  /** Path of this instance's key file. Other instances may share it or have their own. */
  file: string;
  log: Log;
  /** Monotonic time for reads of public keys. Defaults to the system's monotonic clock. */
  timer?: Timer;
}

/** Interval at which the key file is read again and the signing key is published, in milliseconds. */
const REFRESH_MS = DAY_MS;

/**
 * Opens this instance's key file and publishes its signing key.
 * @throws StartupError for an invalid key file
 */
export async function createSigningKeys(options: SigningKeysOptions): Promise<SigningKeys> {
  const { clock, file, log, timer } = options;
  const store = createJwksStore(options);
  const publicKeys = createPublicKeyCache({ store, log, timer, onRead: replaceUnlessPublished });
  let refreshing: Promise<void> | undefined;
  let signingKey = await loadSigningKey();
  const interval = setInterval(refresh, REFRESH_MS).unref();

  /** Reads the key file, rotates or replaces its signing key where needed, and publishes it. */
  async function loadSigningKey(): Promise<SigningKey> {
    const nowMs = clock.now().getTime();
    let [first] = await openKeyFile(file, nowMs);
    if (first !== undefined && !(await store.publish(first))) {
      [first] = await replaceRevokedKey(file, first.kid, nowMs);
      if (first !== undefined && !(await store.publish(first))) throw replacementRevoked(file);
    }
    if (first === undefined) throw new StartupError(`${file} holds no key.`);
    publicKeys.expire();
    return { kid: first.kid, key: await importPrivateKey(first, file) };
  }

  function refresh(): void {
    refreshing ??= loadSigningKey()
      .then(
        (key) => {
          signingKey = key;
        },
        (error: unknown) =>
          log.warn({ err: error }, "Refreshing the signing key failed, it is retried later"),
      )
      .finally(() => {
        refreshing = undefined;
      });
  }

  /** Starts a refresh when the signing key was revoked: tokens that it signs are rejected. */
  function replaceUnlessPublished(kids: ReadonlySet<string>): void {
    if (!kids.has(signingKey.kid)) refresh();
  }

  return {
    current: () => signingKey,
    find: publicKeys.find,
    purgeExpired: store.purgeExpired,

    async jwks() {
      return { keys: await publicKeys.list() };
    },

    async close() {
      clearInterval(interval);
      await refreshing;
    },
  };
}

function replacementRevoked(file: string): StartupError {
  return new StartupError(
    `The signing keys in ${file} were revoked one after the other. Start the service again.`,
  );
}

async function importPrivateKey(jwk: PrivateJwk, file: string): Promise<CryptoKey> {
  try {
    return await importEd25519(jwk);
  } catch {
    throw new StartupError(
      `The first key in ${file} is not a valid Ed25519 key: x and d do not match. Replace it.`,
    );
  }
}
