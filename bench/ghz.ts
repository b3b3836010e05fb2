import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { StockReason } from "../gen/cartwright/catalog/v1/catalog_pb.ts";
import { CatalogService } from "../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { seedId } from "../src/cli/seed/generate/seed-id.ts";
import { StartupError } from "../src/kernel/errors.ts";
import { formatNumber } from "./harness/numbers.ts";
import { publishResults } from "./harness/results.ts";
import { parseInteger, readOptions, runBench } from "./harness/run-bench.ts";
import { createShops } from "./harness/shops.ts";

const run = promisify(execFile);
const INSTALL = "go install github.com/bojand/ghz/cmd/ghz@v0.121.0";
/** The measured methods. Reads run with and without the cache. */
const RUNS = [
  { method: "GetProduct", cache: "on" },
  { method: "GetProduct", cache: "off" },
  { method: "ListProducts", cache: "on" },
  { method: "ListProducts", cache: "off" },
  { method: "CreateOrder", cache: "on" },
  { method: "RecordPurchase", cache: "on" },
] as const;
const USAGE = "Usage: npm run bench:ghz -- [--products 20000] [--seconds 5] [--concurrency 50]";
/** The products that CreateOrder.json orders. They must be in stock, or rejections would be measured. */
const ORDERED_PRODUCTS = 1_000;

/** The report of ghz; times are nanoseconds. */
interface Report {
  count: number;
  rps: number;
  latencyDistribution: { percentage: number; latency: number }[] | null;
  statusCodeDistribution: Record<string, number>;
  errorDistribution: Record<string, number>;
}

/** Returns the path of ghz. @throws StartupError with install instructions when it is missing */
async function findGhz(): Promise<string> {
  const gopath = await run("go", ["env", "GOPATH"]).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
  const folders = (process.env.PATH ?? "").split(delimiter);
  if (gopath !== undefined) folders.push(join(gopath, "bin"));
  for (const folder of folders.filter(Boolean)) {
    const file = join(folder, process.platform === "win32" ? "ghz.exe" : "ghz");
    if (
      await access(file, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return file;
  }
  throw new StartupError(
    gopath === undefined
      ? `This bench needs ghz, a load generator for gRPC. Install Go (https://go.dev), then run: ${INSTALL}`
      : `This bench needs ghz, a load generator for gRPC. Install it with: ${INSTALL}`,
  );
}

/** Returns the version of the Go module: `ghz --version` prints only "dev". */
async function versionOf(ghz: string): Promise<string> {
  const built = await run("go", ["version", "-m", ghz]).catch(() => undefined);
  return /\bghz\s+(v[\d.]+)/.exec(built?.stdout ?? "")?.[1] ?? "of unknown version";
}

function readArguments() {
  return readOptions(USAGE, () => {
    const { values } = parseArgs({
      options: {
        products: { type: "string", default: "20000" },
        seconds: { type: "string", default: "5" },
        concurrency: { type: "string", default: "50" },
      },
    });
    return {
      products: parseInteger("products", values.products, ORDERED_PRODUCTS, 2_000_000),
      seconds: parseInteger("seconds", values.seconds, 1, 600),
      concurrency: parseInteger("concurrency", values.concurrency, 1, 1_000),
    };
  });
}

/** Calls one method for a number of seconds, by its configuration file. */
async function measure(ghz: string, method: string, url: string, seconds: number, concurrency: number) {
  const config = join(import.meta.dirname, "ghz", `${method}.json`);
  const settings = ["--config", config, "--duration", `${seconds}s`, "--concurrency", String(concurrency)];
  const calling = run(ghz, [...settings, "--format", "json", new URL(url).host], {
    maxBuffer: 1 << 30, // the report lists every call
    timeout: (seconds + 60) * 1_000,
  });
  const stop = () => calling.child.kill("SIGKILL");
  process.once("exit", stop);
  const { stdout } = await calling
    .catch((error: Error & { stderr?: string }) => {
      throw new StartupError(`ghz failed on ${method}: ${error.stderr?.trim() || error.message}`);
    })
    .finally(() => process.off("exit", stop));
  return JSON.parse(stdout) as Report;
}

/** Returns a row of the table and the failures. */
function summarize(method: string, cache: string, report: Report): { row: string[]; failures: string[] } {
  const at = (percentage: number) => {
    const found = report.latencyDistribution?.find((entry) => entry.percentage === percentage);
    return found === undefined ? "-" : (found.latency / 1e6).toFixed(1);
  };
  const codes = Object.entries(report.statusCodeDistribution);
  const responses = codes.map(([code, count]) => `${code} ${formatNumber(count)}`).join(", ");
  const isOk = codes.length === 1 && codes[0]?.[0] === "OK";
  return {
    row: [method, cache, formatNumber(Math.round(report.rps)), at(50), at(95), at(99), responses],
    failures: isOk
      ? []
      : [`${method}, cache ${cache}: ${responses} ${JSON.stringify(report.errorDistribution)}`],
  };
}

async function restock(url: string): Promise<void> {
  const catalog = createClient(CatalogService, createGrpcTransport({ baseUrl: url }));
  const numbers = Array.from({ length: ORDERED_PRODUCTS }, (_, index) => index + 1).values();
  const worker = async () => {
    for (const number of numbers) {
      const productId = seedId("product", number);
      await catalog.adjustStock({ productId, delta: 1_000_000n, reason: StockReason.RECEIVED });
    }
  };
  await Promise.all(Array.from({ length: 10 }, worker));
}

await runBench(async () => {
  const { products, seconds, concurrency } = readArguments();
  const ghz = await findGhz();
  const shops = createShops(products);
  try {
    const services = { on: await shops.cached(), off: await shops.uncached() };
    await restock(services.on.url);
    const rows = [["method", "cache", "calls/s", "p50 ms", "p95 ms", "p99 ms", "responses"]];
    const failures: string[] = [];
    for (const { method, cache } of RUNS) {
      const { url } = services[cache];
      console.log(`${method} for ${seconds} s, cache ${cache} ...`);
      await measure(ghz, method, url, 1, concurrency); // warm-up
      const result = summarize(method, cache, await measure(ghz, method, url, seconds, concurrency));
      rows.push(result.row);
      failures.push(...result.failures);
    }
    const load = `${concurrency} concurrent calls on one connection, ${seconds} s each`;
    const notes = `${formatNumber(products)} products; ghz ${await versionOf(ghz)}, ${load}.`;
    await publishResults({
      title: "Calls per second, by ghz",
      stores: services.off.stores,
      notes,
      rows,
      write: true,
    });
    if (failures.length > 0) throw new StartupError(`Some calls failed:\n${failures.join("\n")}`);
  } finally {
    await shops.close();
  }
});
