import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createSecureServer, createServer } from "node:http2";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Scope } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { createAccount, createApiKey } from "../../support/identity/test-accounts.ts";
import { importLines, startImport, writeImportFile } from "../../support/import/import-files.ts";
import { createCategorySlug } from "../../support/import/import-rows.ts";
import { createSelfSignedCertificate } from "../../support/rpc/self-signed-certificate.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
let folder: string;
let path: string;
let token: string;
let port: string;
/** A program at another port, with the number of its connections. */
let other: Server;
let otherPort: string;
let connections = 0;

const portOf = (server: { address(): AddressInfo | string | null }) => {
  const address = server.address();
  return typeof address === "object" && address !== null ? String(address.port) : "";
};

beforeAll(async () => {
  [shop, folder] = await Promise.all([
    startShop({ ACCESS: "on" }),
    mkdtemp(join(tmpdir(), "cartwright-import-address-")),
  ]);
  port = new URL(shop.url).port;
  const admin = await createAccount(shop, "ADMIN");
  token = await createApiKey(admin, Scope.CATALOG_WRITE);
  const slug = await createCategorySlug(await createAccount(shop, "STAFF"));
  path = await writeImportFile(folder, "products.ndjson", importLines("A-", 3, slug));
  other = createTcpServer((socket) => {
    connections += 1;
    socket.destroy();
  }).listen(0, "127.0.0.1");
  await once(other, "listening");
  otherPort = portOf(other);
});
afterAll(async () => {
  other.close();
  await shop.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  connections = 0;
  await writeFile(join(folder, ".env"), "");
});

/** Runs the command in a folder whose file .env has these lines. */
async function runImport(env: NodeJS.ProcessEnv, dotEnv: readonly string[] = [], ...args: string[]) {
  await writeFile(join(folder, ".env"), dotEnv.join("\n"));
  const access = { ACCESS: undefined, CARTWRIGHT_TOKEN: token };
  return startImport([path, ...args], { ...access, ...env }, { cwd: folder }).ended;
}

describe("the address of the service", () => {
  test.each([
    ["PORT in the environment", () => ({ env: { PORT: port } })],
    ["PORT in .env", () => ({ dotEnv: [`PORT=${port}`] })],
    ["HOST of all interfaces", () => ({ env: { HOST: "0.0.0.0", PORT: port } })],
    ["PORT in the environment before .env", () => ({ env: { PORT: port }, dotEnv: [`PORT=${otherPort}`] })],
    [
      "--url before both",
      () => ({ env: { PORT: otherPort }, dotEnv: [`PORT=${otherPort}`], args: ["--url", shop.url] }),
    ],
  ])("is that of %s", async (_, options) => {
    const {
      env = {},
      dotEnv = [],
      args = [],
    }: { env?: object; dotEnv?: string[]; args?: string[] } = options();
    const { code, out, errors } = await runImport({ ...env }, dotEnv, ...args);
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    expect(out).toMatch(/^Imported 3 rows/);
    expect(connections).toBe(0);
  });

  test("is not that of a misspelled variable, which a warning names", async () => {
    const { code, errors } = await runImport({ PORT: port }, ["POTR=8220"]);
    expect(code).toBe(0);
    expect(
      errors
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toMatchObject([
      { level: "warn", variable: "POTR", suggestions: ["PORT"], msg: "Unknown environment variable ignored" },
    ]);
  });

  test("must be named when PORT is 0", async () => {
    const { code, errors } = await runImport({ PORT: "0" });
    expect({ code, errors }).toEqual({
      code: 1,
      errors: "PORT is 0, any free port. Name the address of the service: --url URL.\n",
    });
  });
});

describe("before anything is sent", () => {
  test.each([
    ["is not set", {}],
    ["is empty", { CARTWRIGHT_TOKEN: " \n" }],
  ])(
    "a token that %s is reported with the command that creates one, and no connection is opened",
    async (_, env) => {
      const result = await runImport({ PORT: otherPort, CARTWRIGHT_TOKEN: undefined, ...env });
      expect(result).toMatchObject({ code: 1, out: "" });
      expect(result.errors).toBe(
        "CARTWRIGHT_TOKEN is not set: the import needs an API key. Nothing was sent. To create one:\n" +
          "  export CARTWRIGHT_TOKEN=$(npm run --silent admin -- create-key --service import --scopes catalog-write)\n",
      );
      expect(connections).toBe(0);
    },
  );

  test("the token of .env is used", async () => {
    const dotEnv = [`PORT=${port}`, `CARTWRIGHT_TOKEN=${token}`];
    expect(await runImport({ CARTWRIGHT_TOKEN: undefined }, dotEnv)).toMatchObject({ code: 0, errors: "" });
  });

  test("a program that is not Cartwright receives no token and no row", async () => {
    const requests: [path: string, authorization: string | undefined][] = [];
    const server = createServer((request, response) => {
      requests.push([request.url, request.headers.authorization]);
      response.end("hello");
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${portOf(server)}`;
    const { code, out, errors } = await runImport({}, [], "--url", url);
    server.close();
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(errors).toContain(`The program at ${url} is not Cartwright`);
    expect(errors).toContain("Nothing was sent. Name the address of the service: --url, or HOST and PORT");
    expect(requests).toEqual([["/cartwright.catalog.v1.CatalogService/ListCategories", undefined]]);
  });

  test("a service that does not run is reported with its address", async () => {
    other.close();
    await once(other, "close");
    const { code, errors } = await runImport({ PORT: otherPort });
    const url = `http://127.0.0.1:${otherPort}`;
    expect(code).toBe(1);
    expect(errors).toContain(`No service accepts connections at ${url}. Retrying in `);
    expect(errors).toMatch(
      /No service accepts connections at \S+ Nothing was sent\. Start it with npm start\. Name the address/,
    );
    expect(errors).not.toMatch(/\n\s+at /);
  });

  test("an address with https of a service without TLS is reported, without a retry", async () => {
    const { code, errors } = await runImport({}, [], "--url", `https://127.0.0.1:${port}`);
    expect({ code, errors }).toEqual({
      code: 1,
      errors: `The service at https://127.0.0.1:${port} does not use TLS. Nothing was sent. Name its address with http:// in --url.\n`,
    });
  });

  test("a certificate that is not trusted is reported, and accepted with the file of its authority", async () => {
    const { cert, key } = createSelfSignedCertificate();
    const paths: (string | undefined)[] = [];
    const server = createSecureServer({ cert, key }, (request, response) => {
      paths.push(request.url);
      response.end();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `https://127.0.0.1:${portOf(server)}`;
    const rejected = await runImport({}, [], "--url", url);
    expect(rejected.code).toBe(1);
    expect(rejected.errors).toMatch(
      /^The certificate of \S+ is not trusted: self-signed certificate.*Nothing was sent\. /,
    );
    expect(rejected.errors).toContain("NODE_EXTRA_CA_CERTS");
    expect(paths).toEqual([]);
    const authority = await writeImportFile(folder, "authority.pem", cert);
    const trusted = await runImport({ NODE_EXTRA_CA_CERTS: authority }, [], "--url", url);
    server.close();
    // It is trusted, but it is no service.
    expect(trusted.errors).toContain(`The program at ${url} is not Cartwright`);
    expect(paths).toEqual(["/cartwright.catalog.v1.CatalogService/ListCategories"]);
  });
});
