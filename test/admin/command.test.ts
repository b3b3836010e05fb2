import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Role } from "../../gen/cartwright/identity/v1/identity_pb.ts";
import { readOptions } from "../../src/admin/options.ts";
import { StartError } from "../../src/kernel/errors.ts";
import { failureOf } from "../support/errors.ts";
import { as } from "../support/people.ts";
import { startShop, type TestShop } from "../support/shop.ts";

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

/** Runs the command, as `npm run admin --` does. */
async function admin(args: string[], input = "") {
  const child = spawn(process.execPath, ["src/admin/main.ts", ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: process.env.PATH ?? "", DATA_DIR: dataDir, DATABASE_URL: shop.database.url },
  });
  let [out, errors] = ["", ""];
  child.stdout.on("data", (data) => {
    out += data;
  });
  child.stderr.on("data", (data) => {
    errors += data;
  });
  // A command that fails does not read it.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [code] = await once(child, "close");
  return { code, out, errors };
}

async function signIn(email: string, password: string) {
  const { account, tokens } = await shop.identity.signIn({ email, password });
  return { account, ...as(shop, tokens?.accessToken ?? "") };
}

test("the first admin gets a password that is shown once, and may do what admins do", async () => {
  const email = newEmail();
  const made = await admin(["create-user", "--email", email, "--role", "admin", "--name", "Ada"]);
  expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/^[\w-]{24}\n$/) });
  expect(made.errors).toMatch(/^Account [\da-f-]{36} of .+ is made, with the role ADMIN\. Its password:\n$/);
  const ada = await signIn(email, made.out.trim());
  expect(ada.account).toMatchObject({ email, name: "Ada", role: Role.ADMIN });
  expect((await ada.identity.listApiKeys({})).apiKeys).toEqual([]);
  // It keeps nothing of that, nor keys of its own.
  expect(await readdir(dataDir)).toEqual([]);
});

test("a password comes by the input, and never by an argument", async () => {
  const email = newEmail();
  const args = ["create-user", "--email", email, "--role", "staff", "--password-stdin"];
  expect(await admin(args, "short\n")).toMatchObject({
    code: 1,
    errors: expect.stringContaining("8 to 256"),
  });
  expect(await admin([...args, "--password", "correct horse"])).toMatchObject({ code: 1, out: "" });
  const made = await admin(args, "correct horse \r\nnot this line\n");
  expect(made).toMatchObject({ code: 0, out: "" });
  expect(made.errors).not.toContain("correct");
  expect((await signIn(email, "correct horse ")).account?.role).toBe(Role.STAFF);
});

test("a customer who was there before gets an account, once", async () => {
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
    errors: expect.stringContaining("has an account already"),
  });
});

test("another role is known to a shop that runs within seconds", async () => {
  const email = newEmail();
  await admin(["create-user", "--email", email, "--role", "customer", "--password-stdin"], "correct horse");
  const { customers } = await signIn(email, "correct horse");
  expect(await failureOf(customers.listCustomers({}))).toMatchObject({ code: "PermissionDenied" });
  expect(await admin(["set-role", "--email", email, "--role", "staff"])).toMatchObject({ code: 0, out: "" });
  await expect.poll(() => customers.listCustomers({}).then(() => "ok", String)).toBe("ok");
  const nobody = await admin(["set-role", "--email", newEmail(), "--role", "staff"]);
  expect(nobody).toMatchObject({ code: 1, errors: expect.stringContaining("No account") });
});

test("a key of another service is shown once, and good for what was said", async () => {
  const args = ["create-key", "--service", "warehouse", "--scopes", "customers-read, orders-read"];
  const made = await admin([...args, "--days", "90"]);
  expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/^ck_[\w-]{43}\n$/) });
  expect(made.errors).toMatch(/^API key [\da-f-]{36} of warehouse is good until 2\d{3}-.+\. Its secret:\n$/);
  const { customers, identity } = as(shop, made.out.trim());
  await customers.listCustomers({});
  const create = customers.createCustomer({ customer: { email: newEmail(), name: "x" } });
  expect(await failureOf(create)).toMatchObject({ code: "PermissionDenied", reason: "SCOPE_MISSING" });
  expect(await failureOf(identity.listApiKeys({}))).toMatchObject({ code: "PermissionDenied" });
  expect((await admin(args)).errors).toContain("until it is revoked");
});

const someone = ["--email", "a@example.com"];
const service = ["create-key", "--service", "warehouse", "--scopes"];
test.each([
  [[], "Name one command"],
  [["create-users"], "Name one command"],
  [["create-user", ...someone, "--role", "boss"], "--role"],
  [["create-user", "--email", "nobody", "--role", "admin"], "--email"],
  [["create-user", ...someone, "--role", "admin", "--name", ""], "--name"],
  [["create-user", ...someone, "--role", "admin", "--days", "3"], "--days is nothing"],
  [["set-role", ...someone], "--role"],
  [["create-key", "--service", "W", "--scopes", "orders-read"], "--service"],
  [[...service, ""], "--scopes"],
  [[...service, "orders-read,unspecified"], "--scopes"],
  [[...service, "orders-read", "--days", "0"], "--days"],
])("%j is refused before anything is done", (args, says) => {
  expect(() => readOptions(args)).toThrow(StartError);
  expect(() => readOptions(args)).toThrow(says);
});

test("a mistake is told with how it is done right, and --help says that alone", async () => {
  const [wrong, help] = await Promise.all([admin(["create-users"]), admin(["--help"])]);
  expect(wrong).toMatchObject({ code: 1, out: "", errors: expect.stringContaining("Usage: npm run admin") });
  expect(help).toMatchObject({ code: 0, out: expect.stringContaining("create-key"), errors: "" });
});
