import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { StockReason } from "../gen/cartwright/catalog/v1/catalog_pb.ts";
import { CatalogService } from "../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { StartError } from "../src/kernel/errors.ts";
import { seedId } from "../src/seed/ids.ts";
import { publish } from "./results.ts";
import { startService } from "./service.ts";

const run = promisify(execFile);
const INSTALL = "go install github.com/bojand/ghz/cmd/ghz@v0.121.0";
const METHODS = ["GetProduct", "ListProducts", "CreateOrder", "RecordPurchase"];
const USAGE = "Usage: npm run bench:ghz -- [--products 20000] [--seconds 5] [--concurrency 50]";
/** The products that CreateOrder.json orders: it must find them in stock, or it would measure refusals. */
const ORDERED_PRODUCTS = 1_000;

/** What ghz reports; times are nanoseconds. */
interface Report {
  count: number;
  rps: number;
  latencyDistribution: { percentage: number; latency: number }[] | null;
  statusCodeDistribution: Record<string, number>;
  errorDistribution: Record<string, number>;
}

/** @throws StartError when there is no ghz, with the way to get it */
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
  throw new StartError(
    gopath === undefined
      ? `This bench needs ghz, a load generator for gRPC, and there is none. Install Go (https://go.dev), then: ${INSTALL}`
      : `This bench needs ghz, a load generator for gRPC, and there is none. Install it with: ${INSTALL}`,
  );
}

/** What it was built from; asked of it, ghz only says "dev". */
async function versionOf(ghz: string): Promise<string> {
  const built = await run("go", ["version", "-m", ghz]).catch(() => undefined);
  return /\bghz\s+(v[\d.]+)/.exec(built?.stdout ?? "")?.[1] ?? "of unknown version";
}

function readOptions() {
  const options = { products: "20000", seconds: "5", concurrency: "50" };
  try {
    const { values } = parseArgs({
      options: {
        products: { type: "string", default: options.products },
        seconds: { type: "string", default: options.seconds },
        concurrency: { type: "string", default: options.concurrency },
      },
    });
    const read = (name: keyof typeof options, min: number, max: number) => {
      const value = Number(values[name]);
      if (Number.isInteger(value) && value >= min && value <= max) return value;
      throw new StartError(`--${name} must be a whole number from ${min} to ${max}.`);
    };
    return {
      products: read("products", ORDERED_PRODUCTS, 2_000_000),
      seconds: read("seconds", 1, 600),
      concurrency: read("concurrency", 1, 1_000),
    };
  } catch (error) {
    throw new StartError(`${error instanceof Error ? error.message : error}\n${USAGE}`);
  }
}

/** Calls one method for so many seconds, as its configuration says. */
async function measure(ghz: string, method: string, url: string, seconds: number, concurrency: number) {
  const config = join(import.meta.dirname, "ghz", `${method}.json`);
  const settings = ["--config", config, "--duration", `${seconds}s`, "--concurrency", String(concurrency)];
  const calling = run(ghz, [...settings, "--format", "json", new URL(url).host], {
    maxBuffer: 1 << 30, // it lists every call
    timeout: (seconds + 60) * 1_000,
  });
  const stop = () => calling.child.kill("SIGKILL");
  process.once("exit", stop);
  const { stdout } = await calling
    .catch((error: Error & { stderr?: string }) => {
      throw new StartError(`ghz failed on ${method}: ${error.stderr?.trim() || error.message}`);
    })
    .finally(() => process.off("exit", stop));
  return JSON.parse(stdout) as Report;
}

/** A row of the table, and what went wrong. */
function summarize(method: string, report: Report): { row: string[]; failures: string[] } {
  const at = (percentage: number) => {
    const found = report.latencyDistribution?.find((entry) => entry.percentage === percentage);
    return found === undefined ? "-" : (found.latency / 1e6).toFixed(1);
  };
  const codes = Object.entries(report.statusCodeDistribution);
  const answers = codes.map(([code, count]) => `${code} ${count.toLocaleString("en")}`).join(", ");
  const isGood = codes.length === 1 && codes[0]?.[0] === "OK";
  return {
    row: [method, Math.round(report.rps).toLocaleString("en"), at(50), at(95), at(99), answers],
    failures: isGood ? [] : [`${method}: ${answers} ${JSON.stringify(report.errorDistribution)}`],
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

async function main(): Promise<void> {
  const { products, seconds, concurrency } = readOptions();
  const ghz = await findGhz();
  const service = await startService(products);
  try {
    await restock(service.url);
    const rows = [["method", "calls/s", "p50 ms", "p95 ms", "p99 ms", "answers"]];
    const failures: string[] = [];
    for (const method of METHODS) {
      console.log(`${method} for ${seconds} s ...`);
      await measure(ghz, method, service.url, 1, concurrency); // so that code is compiled and plans are made
      const result = summarize(method, await measure(ghz, method, service.url, seconds, concurrency));
      rows.push(result.row);
      failures.push(...result.failures);
    }
    const load = `${concurrency} calls at once on one connection, ${seconds} s each`;
    const notes = `${products.toLocaleString("en")} products; ghz ${await versionOf(ghz)}, ${load}.`;
    await publish("Calls a second, by ghz", { stores: service.stores, notes, rows });
    if (failures.length > 0) throw new StartError(`Not every answer was OK:\n${failures.join("\n")}`);
  } finally {
    await service.close();
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
