import type { App } from "./app.ts";
import type { Config } from "./config.ts";
import type { Log } from "./kernel/log.ts";

/**
 * Says where the shop answers and what to try: a few lines on a terminal, one JSON line elsewhere. Both hold
 * the word "listening" and the address.
 */
export function printBanner(app: App, config: Config, log: Log): void {
  const { url, started, demo } = app;
  const { host } = new URL(url);
  const plaintext = config.tls === undefined ? " -plaintext" : "";
  const examples = [
    `curl ${url}/cartwright.catalog.v1.CatalogService/ListProducts -H 'content-type: application/json' -d '{"pageSize": 3}'`,
    `grpcurl${plaintext} ${host} list`,
    `npx buf curl ${config.tls === undefined ? "--http2-prior-knowledge " : ""}${url}/cartwright.catalog.v1.CatalogService/GetCatalogStats`,
  ];
  const warnings = [
    ...(config.access
      ? []
      : ["ACCESS IS OFF: everyone who reaches this port may call everything. Unset ACCESS to have it on."]),
    ...(config.limits
      ? []
      : ["LIMITS ARE OFF: everyone may call as often as they like. Unset LIMITS to have them on."]),
    ...(config.cache ? [] : ["CACHE IS OFF: every read goes to the database. Unset CACHE to have it on."]),
  ];
  const accounts = demo && [`${demo.emails.join(", ")}: password ${demo.password}`, "shown this once"];
  if (!process.stdout.isTTY) {
    if (accounts !== undefined) log.info({ ...demo }, "accounts of the demo, shown this once");
    log.info({ address: url, started, warnings, examples }, `listening on ${url}`);
    return;
  }
  const lines = [
    "",
    `  Cartwright is listening on ${url}  (gRPC, gRPC-Web, Connect; HTTP/1.1 and h2)`,
    ...started.map((line) => `  started   ${line}`),
    ...(accounts ?? []).map((line, index) => `  ${index === 0 ? "sign in as" : "          "}  ${line}`),
    ...warnings.map((line) => `  WARNING   ${line}`),
    "",
    "  Try:",
    ...examples.map((line) => `    ${line}`),
    "",
    "  Ctrl-C stops it.",
    "",
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}
