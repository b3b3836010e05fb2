import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { delimiter, join } from "node:path";
import { json } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import type { DescService } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import manifest from "../../../package.json" with { type: "json" };
import * as client from "../../../src/client/client.ts";
import { type Consumer, createConsumer } from "../../support/client/consumer.ts";
import { consumerFiles, expectedResults } from "../../support/client/consumer-programs.ts";
import { listen } from "../../support/client/flaky-proxy.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { chromium, showPage } from "../browser/chromium.ts";

/** Maximum size of a minified browser bundle with the whole client, compressed by gzip, in bytes. */
const MAX_BUNDLE_BYTES = 50 * 1_024;
const dependencies = ["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-web"];

/** The Node of the host, which may be older than the project's. */
const hostNode = (process.env.PATH ?? "")
  .split(delimiter)
  .filter((folder) => !folder.includes("node_modules"))
  .map((folder) => join(folder, "node"))
  .find(existsSync);

let consumer: Consumer;
let shop: TestShop;
/** Serves what Vite has built, and receives the results of its page. */
let site: Server;
let origin: string;
const { promise: pageResults, resolve: receiveResults } = Promise.withResolvers<unknown>();

beforeAll(async () => {
  site = createServer(async (request, response) => {
    if (request.url === "/results") receiveResults(await json(request));
    if (request.url === "/results") return response.end();
    if (request.url === "/service") return response.end(shop.url);
    const isScript = request.url?.endsWith(".js") === true;
    const file = consumer.path(join("dist", isScript ? (request.url ?? "") : "index.html"));
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    return response.end(await readFile(file));
  });
  origin = await listen(site);
  [consumer, shop] = await Promise.all([createConsumer(), startShop({ ACCESS: "on", CORS_ORIGINS: origin })]);
  await consumer.write(consumerFiles);
  await consumer.run("node_modules/.bin/vite", "build", "--logLevel", "warn");
});
afterAll(async () => {
  site?.close();
  await shop?.close();
  await consumer?.remove();
});

test("the installation has the package and its three dependencies, and leaves the project its own programs", async () => {
  const lock = JSON.parse(await readFile(consumer.path("package-lock.json"), "utf8"));
  const installed = Object.entries<{ dev?: boolean }>(lock.packages).filter(
    ([path, { dev }]) => path !== "" && dev !== true,
  );
  expect(installed.map(([path]) => path).sort()).toEqual(
    [...dependencies, "cartwright-client"].map((name) => `node_modules/${name}`),
  );
  const programs = await readdir(consumer.path("node_modules/.bin"));
  expect(programs).toEqual(expect.arrayContaining(["esbuild", "tsc", "vite"]));
  expect(programs).not.toContain("node");
});

test("the package has the version of the service, the client and the contracts, and nothing of the service", async () => {
  const folder = consumer.path("node_modules/cartwright-client");
  const { name, version } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  expect([name, version]).toEqual(["cartwright-client", manifest.version]);
  const entries = await readdir(folder, { recursive: true });
  const files = entries.filter((file) => /\.\w+$|LICENSE/.test(file));
  expect(files).toContain("dist/src/client/client.js");
  const known =
    /^(package\.json|README\.md|LICENSE|dist\/(src\/client|gen\/(cartwright|google\/rpc))\/.*\.(js|d\.ts))$/;
  expect(files.filter((file) => !known.test(file))).toEqual([]);
});

/** Returns the methods of all services that a module exports, by service, with what the client reads in their descriptors. */
function methodsOf(exports: object) {
  const isService = (value: unknown): value is DescService =>
    typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
  return Object.values(exports)
    .filter(isService)
    .sort((a, b) => a.typeName.localeCompare(b.typeName))
    .flatMap(({ typeName, methods }) =>
      methods.map(({ name, idempotency, methodKind, input, output }) => {
        const [request, response] = [input, output].map(({ fields }) => fields.map(String));
        return { method: `${typeName}/${name}`, idempotency, methodKind, request, response };
      }),
    );
}

test("the contracts of the package differ from those of the service only in options of the server", async () => {
  const main = consumer.path("node_modules/cartwright-client/dist/src/client/client.js");
  const packed: object = await import(pathToFileURL(main).href);
  expect(Object.keys(packed).sort()).toEqual(Object.keys(client).sort());
  expect(methodsOf(packed)).toEqual(methodsOf(client));
  expect(methodsOf(packed).length).toBeGreaterThan(40);
});

test.each(["nodenext", "bundler"])(
  "the types compile in a strict TypeScript project with module resolution %s",
  async (resolution) => {
    const config = `tsconfig.${resolution}.json`;
    await expect(consumer.run("node_modules/.bin/tsc", "--project", config)).resolves.toBe("");
  },
);

/** Runs the program until it exits. */
const runProgram = async (node: string, file: string) => JSON.parse(await consumer.run(node, file, shop.url));

test("a program with the package runs and exits without being stopped", async () => {
  expect(await runProgram(process.execPath, "program.mjs")).toEqual(expectedResults);
});

test.skipIf(hostNode === undefined)(
  "a program with the package runs and exits on the host's Node (skipped where the PATH has none)",
  async () => {
    expect(await runProgram(hostNode ?? "", "program.mjs")).toEqual(expectedResults);
  },
);

test("a bundle of esbuild for browsers is small, holds only the package and its dependencies, and runs", async () => {
  const options = ["--bundle", "--minify", "--format=esm", "--platform=browser", "--target=es2022"];
  const output = ["--outfile=program.js", "--metafile=metafile.json"];
  await consumer.run(
    "node_modules/.bin/esbuild",
    "program.mjs",
    ...options,
    ...output,
    "--log-level=warning",
  );
  const { inputs } = JSON.parse(await readFile(consumer.path("metafile.json"), "utf8"));
  const packages = ["cartwright-client", ...dependencies].map((name) => `node_modules/${name}/`);
  const others = Object.keys(inputs).filter((path) => !packages.some((name) => path.startsWith(name)));
  expect(others.sort()).toEqual(["calls.mjs", "program.mjs"]);
  expect(gzipSync(await readFile(consumer.path("program.js"))).length).toBeLessThanOrEqual(MAX_BUNDLE_BYTES);
  expect(await runProgram(process.execPath, "program.js")).toEqual(expectedResults);
});

test("a bundle of Vite is small", async () => {
  const scripts = (await readdir(consumer.path("dist/assets"))).filter((name) => name.endsWith(".js"));
  const contents = await Promise.all(scripts.map((name) => readFile(consumer.path(`dist/assets/${name}`))));
  expect(gzipSync(Buffer.concat(contents)).length).toBeLessThanOrEqual(MAX_BUNDLE_BYTES);
});

test.skipIf(chromium === undefined)(
  "a bundle of Vite runs in Chromium (skipped where the PATH has none)",
  async () => {
    expect(await showPage(chromium ?? "", origin, pageResults)).toEqual(expectedResults);
  },
);
