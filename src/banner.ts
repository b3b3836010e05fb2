import type { App } from "./app.ts";
import type { DemoAccounts } from "./cli/seed/demo-accounts.ts";
import type { Config } from "./config.ts";
import type { Log } from "./kernel/log.ts";

const SET_PASSWORD = "npm run admin -- set-password --email";

/**
 * Prints the address of the service and example calls: a few lines on a terminal, one JSON line elsewhere. Both contain
 * the word "listening" and the address. The password of the demo is printed on a terminal only: logs are kept and read
 * by others.
 */
export function printBanner(app: App, config: Config, log: Log): void {
  const { url, adminUrl, started, demo } = app;
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
      : ["ACCESS IS OFF: anyone who reaches this port may call every method. Unset ACCESS to turn it on."]),
    ...(config.limits ? [] : ["LIMITS ARE OFF: callers have no rate limits. Unset LIMITS to turn them on."]),
    ...(config.cache ? [] : ["CACHE IS OFF: every read goes to the database. Unset CACHE to turn it on."]),
    ...(config.payments.gateway === "sandbox"
      ? ["PAYMENTS ARE IN THE SANDBOX: no money moves. Set PAYMENT_GATEWAY for real ones."]
      : []),
  ];
  if (!process.stdout.isTTY) {
    const accounts = demo && {
      emails: demo.emails,
      passwordFile: demo.passwordFile,
      setPassword: `${SET_PASSWORD} EMAIL`,
    };
    log.info(
      { address: url, adminAddress: adminUrl, started, accounts, warnings, examples },
      `Server listening on ${url}`,
    );
    return;
  }
  const lines = [
    "",
    `  Cartwright is listening on ${url}  (gRPC, gRPC-Web, Connect; HTTP/1.1 and h2)`,
    ...(adminUrl === undefined ? [] : [`  health    ${adminUrl}/readyz`]),
    ...started.map((line) => `  started   ${line}`),
    ...(demo === undefined ? [] : accountLines(demo)).map(
      (line, index) => `  ${index === 0 ? "accounts" : "        "}  ${line}`,
    ),
    ...warnings.map((line) => `  WARNING   ${line}`),
    "",
    "  Try:",
    ...examples.map((line) => `    ${line}`),
    "",
    "  Press Ctrl-C to stop.",
    "",
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

function accountLines({ emails, password, passwordFile }: DemoAccounts): string[] {
  const place = passwordFile === undefined ? "" : ` (in ${passwordFile})`;
  return [
    emails.join(", "),
    password === undefined
      ? `with the initial password${place}, unless you have changed it`
      : `with the password ${password}${place}`,
    `To set another password: ${SET_PASSWORD} ${emails.at(-1)}`,
  ];
}
