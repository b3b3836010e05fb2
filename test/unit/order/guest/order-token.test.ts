import { describe, expect, test } from "vitest";
import { DAY_MS } from "../../../../src/kernel/durations.ts";
import { createOrderTokens, type OrderTokenKey } from "../../../../src/order/guest/order-token.ts";

const key = (id: string, day: number, fill: string): OrderTokenKey => ({
  id,
  validFrom: new Date(day * DAY_MS),
  secret: Buffer.alloc(32, fill),
});
const first = key("0", 0, "a");
const second = key("100", 100, "b");
const orderId = "01941f29-7c00-7003-8000-00000000000a";
const otherId = "01941f29-7c00-7003-8000-00000000000b";
const createTime = new Date(50 * DAY_MS + 123);
const now = new Date(51 * DAY_MS);

const tokens = createOrderTokens([first, second]);
const token = tokens.issue(orderId, createTime);
const isValid = (text: string, id = orderId, at = now) => tokens.verify(text, id, at);

test("the token of an order is the same each time, and is valid for that order only", () => {
  expect(token).toMatch(/^0\.19872000\.[\w-]{43}$/);
  expect(tokens.issue(orderId, new Date(createTime))).toBe(token);
  expect(tokens.issue(orderId.toUpperCase(), createTime)).toBe(token);
  expect([isValid(token), isValid(token, orderId.toUpperCase())]).toEqual([true, true]);
  expect(isValid(token, otherId)).toBe(false);
});

test("a token expires 180 days after its order was created", () => {
  const expiresAtMs = 230 * DAY_MS;
  expect(isValid(token, orderId, new Date(expiresAtMs - 1))).toBe(true);
  expect(isValid(token, orderId, new Date(expiresAtMs))).toBe(false);
});

describe("a token that was altered is invalid", () => {
  const [keyId = "", expiry = "", signature = ""] = token.split(".");
  const last = signature.at(-1) ?? "";
  // The last character of 32 bytes in base64url holds 4 of their bits and 2 unused ones.
  const sameBytes = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]
    .map((character) => signature.slice(0, -1) + character)
    .filter(
      (text) =>
        text !== signature && Buffer.from(text, "base64url").equals(Buffer.from(signature, "base64url")),
    );

  test.each([
    ["no text", ""],
    ["another key", `100.${expiry}.${signature}`],
    ["an unknown key", `7.${expiry}.${signature}`],
    ["a later expiry", `${keyId}.${Number(expiry) + 1}.${signature}`],
    ["a zero before the expiry", `${keyId}.0${expiry}.${signature}`],
    ["a zero before the key", `0${keyId}.${expiry}.${signature}`],
    ["a missing character", token.slice(0, -1)],
    ["another last character", `${token.slice(0, -1)}${last === "A" ? "Q" : "A"}`],
    ["one more character", `${token}A`],
    ["a space", `${token} `],
    ["a line break", `${token}\n`],
    ["no signature", `${keyId}.${expiry}.`],
    ["no expiry", `${keyId}..${signature}`],
    ["two tokens, as joined headers", `${token}, ${token}`],
  ])("a token with %s is invalid", (_, text) => {
    expect(isValid(text)).toBe(false);
  });

  test("a token with another text of the same signature is invalid", () => {
    expect(sameBytes).toHaveLength(3);
    for (const text of sameBytes) expect(isValid(`${keyId}.${expiry}.${text}`)).toBe(false);
  });

  test("a token of another key with the same secret is invalid", () => {
    const [one, other] = [key("0", 0, "a"), key("100", 100, "a")];
    expect(createOrderTokens([one, other]).verify(`100.${expiry}.${signature}`, orderId, now)).toBe(false);
  });

  test("a token that was signed with another secret is invalid", () => {
    const forged = createOrderTokens([key("0", 0, "z")]).issue(orderId, createTime);
    expect(forged.split(".").slice(0, 2)).toEqual([keyId, expiry]);
    expect(isValid(forged)).toBe(false);
  });
});

describe("the key of a token", () => {
  const keyOf = (keys: OrderTokenKey[], at: Date) => createOrderTokens(keys).issue(orderId, at).split(".")[0];

  test("the key of a token is the newest one that was valid when its order was created", () => {
    for (const keys of [
      [first, second],
      [second, first],
    ]) {
      expect(keyOf(keys, new Date(100 * DAY_MS - 1))).toBe("0");
      expect(keyOf(keys, new Date(100 * DAY_MS))).toBe("100");
    }
  });

  test("a new key changes no token of an older order, and both are valid", () => {
    const before = createOrderTokens([first]);
    expect(before.issue(orderId, createTime)).toBe(token);
    const newer = tokens.issue(otherId, new Date(101 * DAY_MS));
    const at = new Date(102 * DAY_MS);
    expect([isValid(token, orderId, at), isValid(newer, otherId, at)]).toEqual([true, true]);
  });

  test("tokens of a key that was removed are invalid, and its orders get new ones", () => {
    const after = createOrderTokens([second]);
    expect(after.verify(token, orderId, now)).toBe(false);
    const replaced = after.issue(orderId, createTime);
    expect(replaced.startsWith("100.")).toBe(true);
    expect(after.verify(replaced, orderId, now)).toBe(true);
  });

  test("order tokens need a key", () => {
    expect(() => createOrderTokens([])).toThrow("order tokens need a key");
  });
});
