import { isIPv6 } from "node:net";
import type { Config, Environment } from "../../config.ts";
import { StartupError } from "../../kernel/errors.ts";

/** Addresses of all interfaces, on which a service listens but to which no client connects. */
const LOOPBACK = new Map([
  ["0.0.0.0", "127.0.0.1"],
  ["::", "::1"],
]);

/**
 * Returns the address of the service that a configuration describes.
 * @throws StartupError when its port is not known
 */
export function serviceAddress({ host, port, tls }: Pick<Config, "host" | "port" | "tls">): string {
  if (port === 0) {
    throw new StartupError("PORT is 0, any free port. Name the address of the service: --url URL.");
  }
  const address = LOOPBACK.get(host) ?? host;
  const authority = isIPv6(address) ? `[${address}]` : address;
  return `${tls === undefined ? "http" : "https"}://${authority}:${port}`;
}

/** The command that creates a token, so that a message can show it. */
const CREATE_TOKEN =
  "To create one:\n  export CARTWRIGHT_TOKEN=$(npm run --silent admin -- create-key --service import --scopes catalog-write)";

/** A hint for a token that the service rejects. */
export const TOKEN_HINT = `The environment variable CARTWRIGHT_TOKEN must contain an API key with the scope catalog-write or the access token of a staff member. ${CREATE_TOKEN}`;

/**
 * Returns the token of the environment; undefined when there is none and the configuration has no access control.
 * @throws StartupError for a missing token, and for characters that a header cannot contain: the error of the HTTP client
 *   would show the token
 */
export function readToken(env: Environment, { access }: Pick<Config, "access">): string | undefined {
  const token = env.CARTWRIGHT_TOKEN?.trim() ?? "";
  if (token === "" && !access) return undefined;
  if (token === "") {
    throw new StartupError(
      `CARTWRIGHT_TOKEN is not set: the import needs an API key. Nothing was sent. ${CREATE_TOKEN}`,
    );
  }
  if (/^[\w.~+/=-]+$/.test(token)) return token;
  throw new StartupError("CARTWRIGHT_TOKEN is not a valid token. Nothing was sent.");
}
