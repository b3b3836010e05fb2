import { execFile } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Role } from "../../../gen/cartwright/identity/v1/identity_pb.ts";
import { readAdminCommand } from "../../../src/cli/admin/options.ts";
import { readPassword } from "../../../src/cli/admin/read-password.ts";
import { StartupError } from "../../../src/kernel/errors.ts";
import { type CliResult, startCli } from "../../support/cli/start-cli.ts";
import { failureOf } from "../../support/errors.ts";
import { clientsWithToken } from "../../support/identity/test-accounts.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
let dataDir: string;
beforeAll(async () => {
  shop = await startShop({ ACCESS: "on" });
  dataDir = await mkdtemp(join(tmpdir(), "cartwright-admin-"));
});
afterAll(async () => {
  await shop.close();
  await rm(dataDir, { recursive: true });
});

const newEmail = () => `${randomUUID()}@example.com`;

/** Runs the command as `npm run admin --` does. */
function admin(args: string[], input = ""): Promise<CliResult> {
  const env = { DATA_DIR: dataDir, DATABASE_URL: shop.database.url };
  return startCli("admin/main.ts", args, env, { input }).ended;
}

async function signIn(email: string, password: string) {
  const { account, tokens } = await shop.identity.signIn({ email, password });
  const token = tokens?.accessToken ?? "";
  return { account, token, ...clientsWithToken(shop, token) };
}

const kidOf = (token: string): string =>
  JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).kid;

/** Returns the reason code of an error. */
const reasonOf = async (error: unknown) => (await failureOf(Promise.reject(error))).reason;

test("create-user prints the password of the first admin only once, and the admin can call admin methods", async () => {
  const email = newEmail();
  const created = await admin(["create-user", "--email", email, "--role", "admin", "--name", "Ada"]);
  expect(created).toMatchObject({ code: 0, out: expect.stringMatching(/^[\w-]{24}\n$/) });
  expect(created.errors).toMatch(
    /^Created account [\da-f-]{36} of .+ with the role ADMIN\. Its password:\n$/,
  );
  const ada = await signIn(email, created.out.trim());
  expect(ada.account).toMatchObject({ email, name: "Ada", role: Role.ADMIN });
  expect((await ada.identity.listApiKeys({})).apiKeys).toEqual([]);
  // The command writes neither the password nor keys to the data folder.
  expect(await readdir(dataDir)).toEqual([]);
});

test("a password is read from standard input and never from an argument", async () => {
  const email = newEmail();
  const args = ["create-user", "--email", email, "--role", "staff", "--password-stdin"];
  expect(await admin(args, "short\n")).toMatchObject({
    code: 1,
    errors: expect.stringContaining("8 to 256"),
  });
  expect(await admin([...args, "--password", "correct horse"])).toMatchObject({ code: 1, out: "" });
  const created = await admin(args, "correct horse \r\nnot this line\n");
  expect(created).toMatchObject({ code: 0, out: "" });
  expect(created.errors).not.toContain("correct");
  expect((await signIn(email, "correct horse ")).account?.role).toBe(Role.STAFF);
});

test("create-user gives an existing customer an account, and only one", async () => {
  const boss = newEmail();
  const { out } = await admin(["create-user", "--email", boss, "--role", "admin"]);
  const { customers } = await signIn(boss, out.trim());
  const email = newEmail();
  const { customer } = await customers.createCustomer({ customer: { email, name: "Grace" } });
  const create = () =>
    admin(
      ["create-user", "--email", email.toUpperCase(), "--role", "customer", "--password-stdin"],
      "correct horse",
    );
  expect(await create()).toMatchObject({ code: 0 });
  const { account } = await signIn(email, "correct horse");
  expect(account).toMatchObject({ customerId: customer?.id, email, name: "Grace", role: Role.CUSTOMER });
  expect(await create()).toMatchObject({
    code: 1,
    errors: expect.stringContaining("already exists"),
  });
});

test("a running service applies a changed role", async () => {
  const email = newEmail();
  await admin(["create-user", "--email", email, "--role", "customer", "--password-stdin"], "correct horse");
  const { customers } = await signIn(email, "correct horse");
  expect(await failureOf(customers.listCustomers({}))).toMatchObject({ code: "PermissionDenied" });
  expect(await admin(["set-role", "--email", email, "--role", "staff"])).toMatchObject({ code: 0, out: "" });
  await expect.poll(() => customers.listCustomers({}).then(() => "ok", String)).toBe("ok");
  const unknown = await admin(["set-role", "--email", newEmail(), "--role", "staff"]);
  expect(unknown).toMatchObject({ code: 1, errors: expect.stringContaining("Not found: account") });
});

test("create-key prints the secret only once, and the key is limited to its scopes", async () => {
  const args = ["create-key", "--service", "warehouse", "--scopes", "customers-read, orders-read"];
  const created = await admin([...args, "--days", "90"]);
  expect(created).toMatchObject({ code: 0, out: expect.stringMatching(/^ck_[\w-]{43}\n$/) });
  expect(created.errors).toMatch(
    /^Created API key [\da-f-]{36} of warehouse, valid until 2\d{3}-.+\. Its secret:\n$/,
  );
  const { customers, identity } = clientsWithToken(shop, created.out.trim());
  await customers.listCustomers({});
  const create = customers.createCustomer({ customer: { email: newEmail(), name: "x" } });
  expect(await failureOf(create)).toMatchObject({ code: "PermissionDenied", reason: "SCOPE_MISSING" });
  expect(await failureOf(identity.listApiKeys({}))).toMatchObject({ code: "PermissionDenied" });
  expect((await admin(args)).errors).toContain("until it is revoked");
});

test("a script gets the secret alone from npm run --silent", async () => {
  const commands = [
    ["create-key --service shell --scopes orders-read", /^ck_[\w-]{43}$/],
    [`create-user --email ${newEmail()} --role staff`, /^[\w-]{24}$/],
  ] as const;
  for (const [command, secret] of commands) {
    const script = `secret=$(npm run --silent admin -- ${command}); echo "$secret"`;
    const env = { ...process.env, DATA_DIR: dataDir, DATABASE_URL: shop.database.url };
    const { stdout, stderr } = await promisify(execFile)("bash", ["-c", script], { env });
    expect(stdout.trimEnd()).toMatch(secret);
    expect(stderr).toMatch(/^Created .*:\n$/);
  }
});

test("set-password revokes all sessions and prints the password only if it was generated", async () => {
  const email = newEmail();
  await admin(["create-user", "--email", email, "--role", "customer", "--password-stdin"], "correct horse");
  const before = await signIn(email, "correct horse");
  await before.identity.getMe({});
  const set = await admin(["set-password", "--email", email]);
  expect(set).toMatchObject({ code: 0, out: expect.stringMatching(/^[\w-]{24}\n$/) });
  expect(set.errors).toMatch(
    /^Set the password of account [\da-f-]{36} of .+ and revoked its sessions\. Its p/,
  );
  await expect.poll(() => before.identity.getMe({}).then(() => "GOOD", reasonOf)).toBe("SESSION_ENDED");
  expect(await failureOf(signIn(email, "correct horse"))).toMatchObject({ reason: "SIGN_IN_FAILED" });
  const ada = await signIn(email, set.out.trim());
  await ada.identity.getMe({});
  const given = await admin(["set-password", "--email", email, "--password-stdin"], "battery staple\n");
  expect(given).toMatchObject({ code: 0, out: "" });
  expect(given.errors).not.toContain("battery");
  await signIn(email, "battery staple");
  const unknown = await admin(["set-password", "--email", newEmail()]);
  expect(unknown).toMatchObject({ code: 1, out: "", errors: expect.stringContaining("Not found: account") });
});

test("a running service rejects a revoked API key, and a key cannot be revoked twice", async () => {
  const { out, errors } = await admin(["create-key", "--service", "warehouse", "--scopes", "customers-read"]);
  const [, id = ""] = /^Created API key ([\da-f-]{36}) /.exec(errors) ?? [];
  const { customers } = clientsWithToken(shop, out.trim());
  await customers.listCustomers({});
  const revoke = ["revoke-key", "--id", id.toUpperCase()];
  expect(await admin(revoke)).toMatchObject({ code: 0, errors: `Revoked API key ${id} of warehouse.\n` });
  await expect.poll(() => customers.listCustomers({}).then(() => "GOOD", reasonOf)).toBe("API_KEY_ENDED");
  expect(await admin(revoke)).toMatchObject({ code: 1, errors: expect.stringContaining("already revoked") });
});

test("a running service rejects tokens of a revoked signing key and signs with a new one", async () => {
  const email = newEmail();
  await admin(["create-user", "--email", email, "--role", "customer", "--password-stdin"], "correct horse");
  const { token, identity } = await signIn(email, "correct horse");
  await identity.getMe({});
  const kid = kidOf(token);
  const revoked = await admin(["revoke-signing-key", `--id=${kid}`]);
  expect(revoked).toMatchObject({
    code: 0,
    errors: expect.stringContaining(`Revoked signing key ${kid}`),
  });
  expect(revoked.errors).not.toContain("not in use");
  await expect.poll(() => identity.getMe({}).then(() => "GOOD", reasonOf)).toBe("TOKEN_INVALID");
  // The service fetches all keys when a token names an unknown one, or after a minute.
  await expect
    .poll(
      async () => {
        const payload = token.split(".").slice(1).join(".");
        const header = { alg: "EdDSA", typ: "at+jwt", kid: randomBytes(32).toString("base64url") };
        const unknownKeyToken = `${Buffer.from(JSON.stringify(header)).toString("base64url")}.${payload}`;
        await failureOf(clientsWithToken(shop, unknownKeyToken).identity.getMe({}));
        return kidOf((await signIn(email, "correct horse")).token);
      },
      { interval: 300 },
    )
    .not.toBe(kid);
  await (await signIn(email, "correct horse")).identity.getMe({});
});

test("a command is recorded in the audit log without secrets, and a failed one is not recorded", async () => {
  const email = newEmail();
  const entries = async () =>
    shop.database.query<{ actor: string; role: string; method: string; request: string }>(
      "select actor, role, method, request from audit_entry where request like $1 order by id",
      [`%${email}%`],
    );
  const create = ["create-user", "--email", email, "--role", "customer", "--name", "Ada", "--password-stdin"];
  await admin(create, "correct horse");
  expect(await admin(create, "correct horse")).toMatchObject({ code: 1 });
  await admin(["set-role", "--email", email, "--role", "staff"]);
  await admin(["set-password", "--email", email, "--password-stdin"], "battery staple");
  const operator = { actor: "operator", role: "OPERATOR" };
  expect((await entries()).map((entry) => ({ ...entry, request: JSON.parse(entry.request) }))).toEqual([
    {
      ...operator,
      method: "admin create-user",
      request: { email, role: "CUSTOMER", displayName: "Ada", passwordStdin: true },
    },
    { ...operator, method: "admin set-role", request: { email, role: "STAFF" } },
    { ...operator, method: "admin set-password", request: { email, passwordStdin: true } },
  ]);
  const { errors } = await admin(["create-key", "--service", "recorded", "--scopes", "orders-read"]);
  const [, id = ""] = /^Created API key ([\da-f-]{36}) /.exec(errors) ?? [];
  await admin(["revoke-key", "--id", id]);
  const kid = "A".repeat(43);
  await admin(["revoke-signing-key", "--id", kid]);
  const others = await shop.database.query<{ method: string; request: string }>(
    "select method, request from audit_entry where request like any ($1) order by id",
    [["%recorded%", `%${id}%`, `%${kid}%`]],
  );
  expect(others).toEqual([
    { method: "admin create-key", request: '{"service":"recorded","scopes":["ORDERS_READ"]}' },
    { method: "admin revoke-key", request: `{"id":"${id}"}` },
    { method: "admin revoke-signing-key", request: `{"id":"${kid}"}` },
  ]);
});

test("a password is not read from a terminal, which would display it", async () => {
  const terminal = Object.assign(new PassThrough(), { isTTY: true });
  terminal.end("correct horse\n");
  await expect(readPassword(terminal)).rejects.toThrow(StartupError);
  await expect(readPassword(terminal)).rejects.toThrow("Pipe it in");
  const pipe = new PassThrough();
  pipe.end("correct horse\n");
  expect(await readPassword(pipe)).toBe("correct horse");
});

const someone = ["--email", "a@example.com"];
const service = ["create-key", "--service", "warehouse", "--scopes"];
test.each([
  [[], "Expected one command"],
  [["create-users"], "Expected one command"],
  [["create-user", ...someone, "--role", "boss"], "--role"],
  [["create-user", "--email", "no-address", "--role", "admin"], "--email"],
  [["create-user", ...someone, "--role", "admin", "--name", ""], "--name"],
  [["create-user", ...someone, "--role", "admin", "--days", "3"], "--days is not an option"],
  [["set-role", ...someone], "--role"],
  [["set-password"], "--email"],
  [["set-password", ...someone, "--role", "staff"], "--role is not an option"],
  [["revoke-key"], "--id"],
  [["revoke-key", "--id", "1"], "--id"],
  [["revoke-signing-key", "--id", "1"], "--id"],
  [["create-key", "--service", "W", "--scopes", "orders-read"], "--service"],
  [[...service, ""], "--scopes"],
  [[...service, "orders-read,unspecified"], "--scopes"],
  [[...service, "orders-read", "--days", "0"], "--days"],
])("%j is rejected before anything is changed", (args, message) => {
  expect(() => readAdminCommand(args)).toThrow(StartupError);
  expect(() => readAdminCommand(args)).toThrow(message);
});

test("a wrong argument prints one line and a hint to --help on standard error, and --help prints it on standard output", async () => {
  const [wrong, help] = await Promise.all([admin(["create-users"]), admin(["--help"])]);
  expect(wrong).toMatchObject({
    code: 1,
    out: "",
    errors: expect.stringMatching(/^Expected one command: .+\.\nFor all options: npm run admin -- --help\n$/),
  });
  expect(help).toMatchObject({ code: 0, out: expect.stringContaining("create-key"), errors: "" });
});

test("the file .env names the database, as it does for the service", async () => {
  const folder = await mkdtemp(join(tmpdir(), "cartwright-admin-env-"));
  await writeFile(join(folder, ".env"), `DATABASE_URL=${shop.database.url}\n`);
  const args = ["create-key", "--service", "configured", "--scopes", "orders-read"];
  const { code, errors } = await startCli("admin/main.ts", args, {}, { cwd: folder }).ended;
  expect({ code, errors }).toMatchObject({ code: 0, errors: expect.stringContaining("of configured") });
  expect(await shop.database.query("select from api_key where service_account = 'configured'")).toHaveLength(
    1,
  );
  expect(await readdir(folder)).toEqual([".env"]);
  await rm(folder, { recursive: true });
});
