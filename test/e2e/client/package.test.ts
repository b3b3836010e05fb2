import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { promisify } from "node:util";
import { build } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startShop, type TestShop } from "../../support/shop.ts";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../../..");
/** The packages that the client may depend on. */
const dependencies = ["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-web"];

const program = `
import { Code, createClient, errorDetails, OrderState, Role, Scope } from "cartwright/client";
const shop = createClient({ baseUrl: process.argv[2] });
const { categories } = await shop.catalog.listCategories({});
const anonymous = await shop.identity.getMe({}).catch(errorDetails);
const email = process.pid + "@example.com";
await shop.session.register({ email, name: "Ann", password: "correct horse" });
const { account } = await shop.identity.getMe({});
const error = await shop.orders.createOrder({ order: {} }).catch(errorDetails);
const productId = "00000000-0000-7000-8000-000000000000";
const { reviews } = await shop.reviews.listReviews({ productId });
await shop.session.signOut();
console.log(JSON.stringify([
  [categories.length, reviews.length, account.email === email],
  [Code[anonymous.code], Code[error.code], error.reason],
  [OrderState.PENDING, Role.CUSTOMER, Scope.CATALOG_WRITE],
]));
`;

const typed = `
import { createClient, errorDetails, type Product, type Review, type Session, type ShopClient, type StoredTokens, type TokenStore } from "cartwright/client";
const shop: ShopClient = createClient({ baseUrl: "http://localhost:8080", token: async () => "t" });
export const first = async (): Promise<Product | undefined> =>
  (await shop.catalog.listProducts({ pageSize: 1 })).products[0];
const text: { value: string } = { value: "null" };
const store: TokenStore = {
  load: () => JSON.parse(text.value),
  save: (tokens: StoredTokens | undefined) => { text.value = JSON.stringify(tokens ?? null); },
};
export const session: Session = createClient({ baseUrl: "http://localhost:8080", session: store }).session;
export const review = async (): Promise<Review | undefined> =>
  (await shop.reviews.createReview({ review: { productId: "p", rating: 5 } })).review;
export const reason: string = errorDetails(new Error("no")).reason;
// @ts-expect-error an order has no such field
export const wrong = shop.orders.createOrder({ order: { colour: "red" } });
`;

/** The Node of the host, which may be older than the project's. */
const hostNode = (process.env.PATH ?? "")
  .split(delimiter)
  .filter((folder) => !folder.includes("node_modules"))
  .map((folder) => join(folder, "node"))
  .find(existsSync);

let folder: string;
let consumer: string;
let shop: TestShop;

/** Packs a copy of the sources, so that this installation stays as it is, and unpacks it for a consumer. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cartwright-package-"));
  const source = join(folder, "source");
  consumer = join(folder, "consumer");
  const installed = join(consumer, "node_modules", "cartwright");
  await Promise.all([mkdir(source), mkdir(installed, { recursive: true })]);
  for (const name of ["package.json", "tsconfig.json", "tsconfig.client.json", "LICENSE", "src", "gen"]) {
    await cp(join(root, name), join(source, name), { recursive: true });
  }
  await symlink(join(root, "node_modules"), join(source, "node_modules"));
  await run("npm", ["pack", "--pack-destination", folder, "--no-update-notifier"], { cwd: source });
  const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz")) ?? "";
  await run("tar", ["-xzf", join(folder, tarball), "-C", installed, "--strip-components=1"]);
  for (const name of dependencies) {
    const link = join(consumer, "node_modules", name);
    await mkdir(join(link, ".."), { recursive: true });
    await symlink(join(root, "node_modules", name), link);
  }
  await writeFile(join(consumer, "package.json"), '{ "type": "module" }');
  await writeFile(join(consumer, "program.mjs"), program);
  await writeFile(join(consumer, "typed.ts"), typed);
  shop = await startShop({ ACCESS: "on" });
});
afterAll(async () => {
  await shop?.close();
  await rm(folder, { recursive: true, force: true });
});

test("the package holds the client and nothing of the service", async () => {
  const entries = await readdir(join(consumer, "node_modules", "cartwright"), { recursive: true });
  const files = entries.filter((name) => /\.\w+$/.test(name));
  expect(files).toContain("dist/src/client/client.js");
  const known = /^(package\.json|README\.md|dist\/(src\/client\b|gen\/).*\.(js|d\.ts))$/;
  expect(files.filter((name) => !known.test(name))).toEqual([]);
});

/** Runs the program until it exits. */
const expectProgramToRun = async (node: string) => {
  const { stdout } = await run(node, ["program.mjs", shop.url], { cwd: consumer });
  expect(JSON.parse(stdout)).toEqual([
    [0, 0, true],
    ["Unauthenticated", "InvalidArgument", "INVALID_REQUEST"],
    [1, 1, 1],
  ]);
};

test("a program with the package runs and exits without being stopped", () =>
  expectProgramToRun(process.execPath));

test.skipIf(hostNode === undefined)(
  "a program with the package runs and exits on the host's Node (skipped where the PATH has none)",
  () => expectProgramToRun(hostNode ?? ""),
);

test.each(["nodenext", "bundler"])(
  "the types compile in a strict TypeScript project with module resolution %s",
  async (resolution) => {
    const module = resolution === "bundler" ? "esnext" : resolution;
    const options = [
      "--strict",
      "--exactOptionalPropertyTypes",
      "--noEmit",
      "--lib",
      "es2022,dom",
      "--types",
      "",
    ];
    const tsc = join(root, "node_modules", ".bin", "tsc");
    const checked = run(
      tsc,
      [
        "typed.ts",
        ...options,
        "--module",
        module,
        "--moduleResolution",
        resolution,
        "--skipLibCheck",
        "false",
      ],
      { cwd: consumer },
    );
    await expect(checked.catch(({ stdout }) => Promise.reject(new Error(stdout)))).resolves.toBeDefined();
  },
);

test("a browser bundle holds only the package and its three dependencies", async () => {
  const output = await build({
    configFile: false,
    root: consumer,
    logLevel: "silent",
    resolve: { preserveSymlinks: true },
    build: { write: false, modulePreload: false, rolldownOptions: { input: join(consumer, "program.mjs") } },
  });
  const chunks = "output" in output ? output.output : [];
  const modules = chunks.flatMap((chunk) => (chunk.type === "chunk" ? chunk.moduleIds : []));
  const packages = [...dependencies, "cartwright/dist"].map((name) =>
    join(consumer, "node_modules", name, "/"),
  );
  const others = modules.filter((id) => !packages.some((name) => id.startsWith(name)));
  // Vite would replace built-in modules of Node by stubs, which would be listed here.
  expect(others).toEqual([join(consumer, "program.mjs")]);
  expect(modules.length).toBeGreaterThan(30);
});
