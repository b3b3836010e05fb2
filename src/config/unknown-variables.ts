import type { Log } from "../kernel/log.ts";
import { editDistance } from "./edit-distance.ts";
import { variableNames } from "./variables.ts";

/** An environment variable that seems to be meant for the service and that it does not read. */
export interface UnknownVariable {
  name: string;
  /** The names that may be meant, the most similar one first. */
  suggestions: readonly string[];
}

/** The first words of variables that other programs do not use. */
const OWN_PREFIXES = ["CACHE_", "CORS_", "DB_", "LIMIT_", "SEED_", "SIGNING_", "TLS_", "TRUSTED_"];
/** Variables of other programs that start with DB_ or CACHE_. */
const OTHER_PROGRAMS =
  /^(?:CACHE|DB)_(?:CHARSET|CONNECTION|DATABASE|DIALECT|DIR|DRIVER|ENGINE|HOST|HOSTNAME|KEY|NAME|PASS|PASSWORD|PATH|PORT|PREFIX|ROOT_PASSWORD|SCHEMA|SOCKET|SSL|SSLMODE|SSL_MODE|STORE|TTL|TYPE|URI|URL|USER|USERNAME|VERSION)$/;
/** Variables that Kubernetes and Docker set for a service that is named cache, db or tls. */
const SERVICE_LINK = /_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP)(?:_\w+)?)?|ENV_\w+)$/;
/** In a shorter word, two different letters make another word: DATABASE_SSL is not a misspelled DATABASE_URL. */
const MIN_LENGTH_FOR_TWO = 6;
/** Longest name that is compared, in UTF-16 units. */
const MAX_NAME_LENGTH = 64;
/** Maximum number of variables that are reported. */
const MAX_REPORTED = 10;

/** Finds the variables that have a value, that are not read, and that look like misspelled ones. */
export function findUnknownVariables(
  env: Readonly<Record<string, string | undefined>>,
): readonly UnknownVariable[] {
  return Object.keys(env)
    .filter((name) => env[name] && !variableNames.includes(name) && name.length <= MAX_NAME_LENGTH)
    .map((name) => ({ name, suggestions: suggestionsFor(name.toUpperCase()) }))
    .filter(({ suggestions }) => suggestions.length > 0)
    .slice(0, MAX_REPORTED);
}

/** Logs the names of unknown variables, never their values. */
export function logUnknownVariables(unknown: readonly UnknownVariable[], log: Log): void {
  for (const { name, suggestions } of unknown) {
    log.warn({ variable: name, suggestions }, "Unknown environment variable ignored");
  }
}

/** Returns the names that may be meant by a variable: it may be misspelled, or have a prefix that ours do not have. */
function suggestionsFor(name: string): string[] {
  const rest = name.replace(/^(?:CARTWRIGHT_|RATE_(?=LIMIT))/, "");
  // Kubernetes and Docker set CARTWRIGHT_PORT for a service that is named cartwright.
  if (rest === name || rest === "PORT") return similarNames(name);
  return variableNames.includes(rest) ? [rest] : similarNames(rest);
}

function similarNames(name: string): string[] {
  const similar = sortedByDistance(
    name,
    variableNames.filter((known) => isMisspelled(name, known)),
  );
  if (similar.length > 0) return similar.slice(0, 1);
  if (OTHER_PROGRAMS.test(name) || SERVICE_LINK.test(name)) return [];
  const prefix = OWN_PREFIXES.find((one) => name.startsWith(one));
  if (prefix === undefined) return [];
  return sortedByDistance(
    name,
    variableNames.filter((known) => known.startsWith(prefix)),
  );
}

const sortedByDistance = (name: string, known: readonly string[]): string[] =>
  known.toSorted((a, b) => editDistance(name, a) - editDistance(name, b));

/** Returns whether a name differs from a known one in one letter, or in two that are not in one short word. */
function isMisspelled(name: string, known: string): boolean {
  // Other programs number theirs: PORT0, PORT1.
  if (/\d$/.test(name) || Math.abs(name.length - known.length) > 2) return false;
  const distance = editDistance(name, known);
  if (distance !== 2) return distance < 2;
  const words = name.split("_");
  const knownWords = known.split("_");
  return (
    words.length === knownWords.length &&
    knownWords.every(
      (word, index) => word.length >= MIN_LENGTH_FOR_TWO || editDistance(words[index] ?? "", word) < 2,
    )
  );
}
