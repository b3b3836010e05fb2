import { BlockList, isIP } from "node:net";
import { z } from "zod";
import type { ClassBudget } from "../rpc/rate-limit/class-budgets.ts";

/** Parses a whole number in a range, written in digits only. */
export const integer = (min: number, max: number) =>
  z.string().transform((text, context) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    context.addIssue({ code: "custom", message: `must be a whole number from ${min} to ${max}` });
    return z.NEVER;
  });

/** Parses a comma-separated list; empty items are dropped. */
const list = z.string().transform((value) =>
  value
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean),
);

/** Accepts one of the values. */
export const oneOf = <const Value extends string>(...values: Value[]) =>
  z.enum(values, { error: `must be one of ${values.join(", ")}` });

/** Parses `on` and `off`. */
export const onOff = oneOf("on", "off").transform((value) => value === "on");

/** Accepts a URL with one of the protocols, such as `redis:`. */
export const url = (...protocols: string[]) =>
  z.string().refine((value) => URL.canParse(value) && protocols.includes(new URL(value).protocol), {
    error: `must be a URL that starts with ${protocols.map((name) => `${name}//`).join(" or ")}`,
  });

/** Accepts a key, a token or another credential. */
export const credential = z
  .string()
  .regex(/^[\x21-\x7e]{1,4096}$/, "must be up to 4096 visible ASCII characters");

/** Parses a comma-separated list of secrets. */
export const secrets = (max: number) =>
  list.refine(
    (items) =>
      items.length >= 1 && items.length <= max && items.every((item) => /^[\x21-\x7e]{1,500}$/.test(item)),
    { error: `must be 1 to ${max} secrets of visible ASCII characters, separated by commas` },
  );

/** Parses a comma-separated list of header names. `*` is none: browsers would not send Authorization by it. */
export const headerNames = list.refine(
  (items) => items.every((item) => /^[\w!#$%&'+.^`|~-]{1,100}$/.test(item)),
  {
    error: "must be names of request headers such as x-shop-id, separated by commas",
  },
);

/** Parses a comma-separated list of origins; `*` means all. */
export const origins = list.refine(
  (items) => items.every((item) => item === "*" || (URL.canParse(item) && new URL(item).origin === item)),
  { error: "must be origins such as https://shop.example, separated by commas, or *" },
);

/** Parses a comma-separated list of addresses and CIDRs. */
export const proxies = list.transform((items, context) => {
  const blocks = new BlockList();
  for (const item of items) {
    const [, address = "", bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(item) ?? [];
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    const maxPrefix = family === "ipv6" ? 128 : 32;
    const prefix = bits === undefined ? maxPrefix : Number(bits);
    if (isIP(address) === 0 || prefix > maxPrefix) {
      context.addIssue({ code: "custom", message: `${item} is not an address or CIDR such as 10.0.0.0/8` });
      return z.NEVER;
    }
    blocks.addSubnet(address, prefix, family);
  }
  return blocks;
});

/** Parses the budget of a rate limit class, such as `100/60`: units of cost, and the seconds of the window. */
export const budget = z.string().transform((text, context): ClassBudget => {
  const [, units = "", seconds = "", mode = "open"] =
    /^(\d{1,9})\/(\d{1,5})(?:\/(open|closed))?$/.exec(text) ?? [];
  if (Number(units) >= 1 && Number(seconds) >= 1) {
    return { units: Number(units), windowMs: Number(seconds) * 1_000, failClosed: mode === "closed" };
  }
  const message =
    "must be units/seconds such as 100/60; add /closed to reject calls while Redis is unavailable";
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});
