import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { type ServiceProcess, startProcess } from "../../../support/service-process.ts";
import { createTestDatabase, type TestDatabase } from "../../../support/stores/database.ts";

// The log of this process is as detailed as possible, and must hold no secret.
let database: TestDatabase;
let dataDir: string;
let service: ServiceProcess;
let url: string;
beforeAll(async () => {
  database = await createTestDatabase();
  dataDir = await mkdtemp(join(tmpdir(), "cartwright-secrets-"));
  const stores = { DATABASE_URL: database.url, REDIS_URL: inject("redisUrl"), DATA_DIR: dataDir };
  service = startProcess({
    PORT: "0",
    ...stores,
    LOG_LEVEL: "trace",
    ACCESS: "on",
    GUEST_CHECKOUT: "on",
    SEED_DEMO: "off",
  });
  url = await service.listening;
});
afterAll(async () => {
  service.child.kill("SIGKILL");
  await service.exited;
  await database.drop();
  await rm(dataDir, { recursive: true });
});

/** Places an order of a guest and uses its token, for the order, another one and a failing statement. */
async function useOrderToken(adminToken: string): Promise<string> {
  const orders = "order.v1.OrderService";
  const product = {
    sku: "A",
    name: "A",
    price: { currencyCode: "EUR", minorUnits: "100" },
    stockQuantity: "10",
  };
  const category = await post(
    "catalog.v1.CatalogService/CreateCategory",
    { category: { slug: "a", name: "A" } },
    adminToken,
  );
  const categoryId = field(category, "id");
  const created = await post(
    "catalog.v1.CatalogService/CreateProduct",
    { product: { ...product, categoryId } },
    adminToken,
  );
  const order = { items: [{ productId: field(created, "id"), quantity: "1" }] };
  const placed = await post(`${orders}/CreateOrder`, { requestId: randomUUID(), order });
  const orderToken = field(placed, "orderToken");
  const id = field(placed, "id");
  const send = (method: string, body: object) =>
    fetch(`${url}/cartwright.${orders}/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-order-token": orderToken },
      body: JSON.stringify(body),
    }).then((response) => response.text());
  expect(await send("GetOrder", { id })).toContain(id);
  expect(await send("GetOrder", { id: randomUUID() })).toContain("ORDER_NOT_FOUND");
  expect(await send("ListOrders", {})).toContain("SIGN_IN_REQUIRED");
  await database.query("alter table order_event rename to unavailable");
  expect(await send("CancelOrder", { id })).toContain("internal");
  await database.query("alter table unavailable rename to order_event");
  expect(await send("CancelOrder", { id })).toContain("CANCELLED");
  return orderToken;
}

async function post(method: string, body: object, token?: string): Promise<string> {
  const headers = new Headers({ "content-type": "application/json" });
  if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
  const init = { method: "POST", headers, body: JSON.stringify(body) };
  const response = await fetch(`${url}/cartwright.${method}`, init);
  return response.text();
}

const field = (text: string, name: string) => new RegExp(`"${name}":"([^"]+)"`).exec(text)?.[1] ?? "";

test("no log line holds a password, a token or a key, even when calls fail", async () => {
  const identity = "identity.v1.IdentityService";
  const email = `${randomUUID()}@example.com`;
  const secrets: Record<string, string> = {
    password: `password-${randomUUID()}`,
    wrongPassword: `wrong-${randomUUID()}`,
    newPassword: `new-${randomUUID()}`,
    forgedToken: `eyJhbGciOiJub25lIn0.${Buffer.from(randomUUID()).toString("base64url")}.`,
    forgedKey: `ck_${Buffer.from(randomUUID()).toString("base64url")}`,
    forgedRefreshToken: `cr_${Buffer.from(randomUUID()).toString("base64url")}`,
  };
  const { password, wrongPassword, newPassword, forgedToken, forgedKey, forgedRefreshToken } = secrets;
  const registered = await post(`${identity}/Register`, { email, name: "Ann", password });
  await database.query("update account set role = 'ADMIN'");
  const signedIn = await post(`${identity}/SignIn`, { email, password });
  for (const [name, text] of Object.entries({ registered, signedIn })) {
    secrets[`${name} access token`] = field(text, "accessToken");
    secrets[`${name} refresh token`] = field(text, "refreshToken");
  }
  const token = field(signedIn, "accessToken");
  const created = await post(
    `${identity}/CreateApiKey`,
    { apiKey: { serviceAccount: "warehouse", scopes: ["SCOPE_ORDERS_READ"] } },
    token,
  );
  secrets.key = field(created, "secret");
  const refreshed = await post(`${identity}/RefreshSession`, {
    refreshToken: field(registered, "refreshToken"),
  });
  secrets.refreshed = field(refreshed, "refreshToken");
  for (const [name, secret] of Object.entries(secrets))
    expect([name, secret.length > 20]).toEqual([name, true]);

  secrets["order token"] = await useOrderToken(token);
  await post(`${identity}/SignIn`, { email, password: wrongPassword });
  await post(`${identity}/RefreshSession`, { refreshToken: field(registered, "refreshToken") });
  await post(`${identity}/RefreshSession`, { refreshToken: forgedRefreshToken });
  await post(`${identity}/GetMe`, {}, forgedToken);
  await post(`${identity}/GetMe`, {}, forgedKey);
  await post("order.v1.OrderService/ListOrders", {}, secrets.key);
  await post(`${identity}/ChangePassword`, { currentPassword: password, newPassword }, token);
  await post(`${identity}/SignIn`, { email, password, nonsense: newPassword });
  // A failing statement must not be logged with its values.
  await database.query("alter table session rename to unavailable");
  expect(await post(`${identity}/SignIn`, { email, password: newPassword })).toContain("internal");
  await database.query("alter table unavailable rename to session");

  const keys = await readFile(join(dataDir, "signing-keys.json"), "utf8");
  secrets["private key"] = field(keys.replaceAll(" ", ""), "d");
  const log = JSON.stringify(service.lines) + service.stderr();
  expect(service.lines.length).toBeGreaterThan(10);
  expect(log).toContain("IdentityService/SignIn");
  expect(
    Object.entries(secrets)
      .filter(([, secret]) => log.includes(secret))
      .map(([name]) => name),
  ).toEqual([]);
  expect(log).not.toContain("argon2");
});

test("no log line holds the cancel keys of database connections when these are terminated", async () => {
  const since = service.lines.length;
  const queueFailure = () =>
    service.lines.slice(since).find(({ msg }) => String(msg).startsWith("Job queue failed"));
  const terminateConnections = async () => {
    await database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    return service.child.exitCode ?? queueFailure();
  };
  const termination = { cause: expect.stringMatching(/terminat/) };
  await expect.poll(terminateConnections, { timeout: 30_000, interval: 500 }).toMatchObject(termination);
  await expect
    .poll(() => post("catalog.v1.CatalogService/ListBrands", {}), { timeout: 30_000 })
    .toContain("brands");
  expect(JSON.stringify(service.lines)).not.toMatch(/secretKey|processID|connectionParameters/);
});

test("only its owner can read the signing key file", async () => {
  const { mode } = await stat(join(dataDir, "signing-keys.json"));
  expect((mode & 0o777).toString(8)).toBe("600");
});
