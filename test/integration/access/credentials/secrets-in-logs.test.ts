import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../../support/database.ts";
import { type ServiceProcess, startProcess } from "../../../support/service-process.ts";

// A process with everything in its log that can be, which is then searched for what must never be there.
let database: TestDatabase;
let dataDir: string;
let service: ServiceProcess;
let url: string;
beforeAll(async () => {
  database = await createTestDatabase();
  dataDir = await mkdtemp(join(tmpdir(), "cartwright-secrets-"));
  const stores = { DATABASE_URL: database.url, REDIS_URL: inject("redisUrl"), DATA_DIR: dataDir };
  service = startProcess({ PORT: "0", ...stores, LOG_LEVEL: "trace", ACCESS: "on", SEED_DEMO: "off" });
  url = await service.listening;
});
afterAll(async () => {
  service.child.kill("SIGKILL");
  await service.exited;
  await database.drop();
  await rm(dataDir, { recursive: true });
});

async function post(method: string, body: object, token?: string): Promise<string> {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const response = await fetch(`${url}/cartwright.${method}`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  return response.text();
}

const field = (text: string, name: string) => new RegExp(`"${name}":"([^"]+)"`).exec(text)?.[1] ?? "";

test("no log at any level holds a password, a token, a key or the like, whatever goes wrong", async () => {
  const identity = "identity.v1.IdentityService";
  const email = `${randomUUID()}@example.com`;
  const secrets: Record<string, string> = {
    password: `password-${randomUUID()}`,
    wrongPassword: `wrong-${randomUUID()}`,
    newPassword: `new-${randomUUID()}`,
    forgedToken: `eyJhbGciOiJub25lIn0.${Buffer.from(randomUUID()).toString("base64url")}.`,
    madeUpKey: `ck_${Buffer.from(randomUUID()).toString("base64url")}`,
    madeUpRefreshToken: `cr_${Buffer.from(randomUUID()).toString("base64url")}`,
  };
  const { password, wrongPassword, newPassword, forgedToken, madeUpKey, madeUpRefreshToken } = secrets;
  const registered = await post(`${identity}/Register`, { email, name: "Ann", password });
  await database.query("update account set role = 'ADMIN'");
  const signedIn = await post(`${identity}/SignIn`, { email, password });
  for (const [name, text] of Object.entries({ registered, signedIn })) {
    secrets[`${name} access token`] = field(text, "accessToken");
    secrets[`${name} refresh token`] = field(text, "refreshToken");
  }
  const token = field(signedIn, "accessToken");
  const made = await post(
    `${identity}/CreateApiKey`,
    { apiKey: { serviceAccount: "warehouse", scopes: ["SCOPE_ORDERS_READ"] } },
    token,
  );
  secrets.key = field(made, "secret");
  const refreshed = await post(`${identity}/RefreshSession`, {
    refreshToken: field(registered, "refreshToken"),
  });
  secrets.refreshed = field(refreshed, "refreshToken");
  for (const [name, secret] of Object.entries(secrets))
    expect([name, secret.length > 20]).toEqual([name, true]);

  await post(`${identity}/SignIn`, { email, password: wrongPassword });
  await post(`${identity}/RefreshSession`, { refreshToken: field(registered, "refreshToken") });
  await post(`${identity}/RefreshSession`, { refreshToken: madeUpRefreshToken });
  await post(`${identity}/GetMe`, {}, forgedToken);
  await post(`${identity}/GetMe`, {}, madeUpKey);
  await post("order.v1.OrderService/ListOrders", {}, secrets.key);
  await post(`${identity}/ChangePassword`, { currentPassword: password, newPassword }, token);
  await post(`${identity}/SignIn`, { email, password, nonsense: newPassword });
  // And when the database refuses whatever is asked of it.
  await database.query("alter table session rename to elsewhere");
  expect(await post(`${identity}/SignIn`, { email, password: newPassword })).toContain("internal");
  await database.query("alter table elsewhere rename to session");

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

test("nor does it hold the keys by which what is done in the database can be cancelled, when connections end", async () => {
  const since = service.lines.length;
  const problem = () => service.lines.slice(since).find(({ msg }) => String(msg).startsWith("job queue"));
  const cut = async () => {
    await database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    return service.child.exitCode ?? problem();
  };
  const told = { cause: expect.stringMatching(/terminat/) };
  await expect.poll(cut, { timeout: 20_000, interval: 500 }).toMatchObject(told);
  await expect.poll(() => post("catalog.v1.CatalogService/ListBrands", {})).toContain("brands");
  expect(JSON.stringify(service.lines)).not.toMatch(/secretKey|processID|connectionParameters/);
});

test("the file of the keys that sign tokens is for its owner alone", async () => {
  const { mode } = await stat(join(dataDir, "signing-keys.json"));
  expect((mode & 0o777).toString(8)).toBe("600");
});
