import { existsSync, globSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { circleIn, faultOf, type Import, importsIn, readHouse, targetOf } from "./architecture.ts";

const house = readHouse();
const all = [...house].flatMap(([from, imports]) => imports.map((one) => ({ from, ...one })));
const value = (specifier: string): Import => ({ specifier, typeOnly: false });

describe("the house", () => {
  test("has files and imports to look at", () => {
    expect(house.size).toBeGreaterThan(50);
    expect(all.length).toBeGreaterThan(200);
    expect(all).toContainEqual({ from: "src/main.ts", specifier: "./app.ts", typeOnly: false });
  });

  test("imports as its table says", () => {
    const faults = all.flatMap(({ from, ...one }) => {
      const fault = faultOf(from, one);
      return fault === undefined ? [] : [`${from} imports ${one.specifier}: ${fault}`];
    });
    expect(faults).toEqual([]);
  });

  test("has no circles, of types neither", () => {
    expect(circleIn(house)).toBeUndefined();
  });

  test("imports files that are there, by their names", () => {
    const missing = all.filter(({ from, specifier }) => {
      const target = targetOf(from, specifier);
      return target !== undefined && !existsSync(target);
    });
    expect(missing).toEqual([]);
  });

  test("has files of 300 lines at most", () => {
    const files = ["src", "bench", "test"].flatMap((folder) => globSync(`${folder}/**/*.ts`));
    const lines = (path: string) => readFileSync(path, "utf8").trimEnd().split("\n").length;
    expect(files.filter((path) => lines(path) > 300)).toEqual([]);
  });

  test("needs no decorators and no container", () => {
    const decorated = [...house.keys()].filter((path) => /^\s*@\w+\(/m.test(readFileSync(path, "utf8")));
    expect(decorated).toEqual([]);
    expect(
      all.filter(({ specifier }) => /inversify|tsyringe|reflect-metadata|awilix/.test(specifier)),
    ).toEqual([]);
  });
});

describe("the check refuses", () => {
  test.each([
    ["src/kernel/page.ts", "../infra/postgres.ts"],
    ["src/kernel/page.ts", "../catalog/catalog.ts"],
    ["src/kernel/page.ts", "../config.ts"],
    ["src/kernel/page.ts", "../../gen/cartwright/type/v1/money_pb.ts"],
    ["src/kernel/page.ts", "@bufbuild/protobuf"],
    ["src/kernel/page.ts", "@mikro-orm/core"],
    ["src/infra/postgres.ts", "../catalog/catalog.entity.ts"],
    ["src/infra/postgres.ts", "../serving/server.ts"],
    ["src/infra/postgres.ts", "../schema.ts"],
    ["src/infra/postgres.ts", "../../gen/google/rpc/error_details_pb.ts"],
    ["src/infra/postgres.ts", "@connectrpc/connect"],
    ["src/infra/embedded/redis.ts", "../../app.ts"],
    ["src/serving/rpc.ts", "../catalog/catalog.rpc.ts"],
    ["src/serving/rpc.ts", "../infra/postgres.ts"],
    ["src/serving/rpc.ts", "../app.ts"],
    ["src/serving/rpc.ts", "pg"],
    ["src/interceptors/errors.ts", "../order/order.ts"],
    ["src/interceptors/errors.ts", "@mikro-orm/postgresql"],
    ["src/catalog/catalog.ts", "../order/order.ts"],
    ["src/catalog/catalog.ts", "../customer/customer.ts"],
    ["src/catalog/catalog.ts", "../tracker/tracker.ts"],
    ["src/catalog/product.ts", "../../gen/cartwright/catalog/v1/catalog_pb.ts"],
    ["src/catalog/product.ts", "@bufbuild/protobuf/wkt"],
    ["src/catalog/catalog.rpc.ts", "../interceptors/call.ts"],
    ["src/catalog/catalog.rpc.ts", "../serving/server.ts"],
    ["src/customer/customer.ts", "../catalog/catalog.ts"],
    ["src/tracker/tracker.ts", "../order/order.ts"],
    ["src/tracker/tracker.ts", "../customer/customer.ts"],
    ["src/tracker/purchase.ts", "../catalog/catalog.entity.ts"],
    ["src/order/order.ts", "../catalog/catalog.entity.ts"],
    ["src/order/order.ts", "../catalog/stock.ts"],
    ["src/order/order.ts", "../tracker/promotion.ts"],
    ["src/order/order.ts", "../review/review.ts"],
    ["src/order/order.ts", "../config.ts"],
    ["src/identity/identity.ts", "../order/order.ts"],
    ["src/review/review.ts", "../customer/customer.ts"],
    ["src/recommendation/recommendation.ts", "../tracker/tracker.ts"],
    ["src/client.ts", "./kernel/errors.ts"],
    ["src/client.ts", "./interceptors/policy.ts"],
    ["src/client.ts", "@mikro-orm/core"],
    ["src/client.ts", "node:crypto"],
    ["src/client/retries.ts", "../kernel/errors.ts"],
    ["src/banner.ts", "@connectrpc/connect"],
    ["src/config.ts", "../gen/cartwright/type/v1/money_pb.ts"],
    ["src/misc/things.ts", "../kernel/errors.ts"],
    ["src/order/order.ts", "../misc/things.ts"],
    ["src/order/order.ts", "../../test/support/shop.ts"],
  ])("%s importing %s", (from, specifier) => {
    expect(faultOf(from, value(specifier))).toBeTypeOf("string");
    // Only what the edge says of infra may be said of types alone.
    const ofTypes = faultOf(from, { specifier, typeOnly: true });
    if (from.startsWith("src/serving/") && specifier.startsWith("../infra/")) expect(ofTypes).toBeUndefined();
    else expect(ofTypes).toBeTypeOf("string");
  });
});

test.each([
  ["src/main.ts", "./app.ts"],
  ["src/app.ts", "@connectrpc/connect"],
  ["src/seed/seed.ts", "../catalog/catalog.entity.ts"],
  ["src/order/order.ts", "../catalog/catalog.ts"],
  ["src/order/order.ts", "../infra/postgres.ts"],
  ["src/order/order.rpc.ts", "../../gen/cartwright/order/v1/order_pb.ts"],
  ["src/serving/rpc.ts", "../interceptors/call.ts"],
  ["src/interceptors/errors.ts", "../kernel/errors.ts"],
  ["src/infra/embedded/redis.ts", "../../kernel/errors.ts"],
  ["src/infra/postgres.ts", "pg"],
  ["src/client.ts", "../gen/cartwright/order/v1/order_pb.ts"],
  ["src/client.ts", "./client/retries.ts"],
  ["src/kernel/page.ts", "node:crypto"],
])("the check lets %s import %s", (from, specifier) => {
  expect(faultOf(from, value(specifier))).toBeUndefined();
});

test.each([
  ['import { a } from "./a.ts";', "./a.ts", false],
  ['import {\n  type A,\n  b,\n} from "./a.ts";', "./a.ts", false],
  ['import type { A } from "./a.ts";', "./a.ts", true],
  ['import type * as all from "./a.ts";', "./a.ts", true],
  ['import a, { b } from "./a.ts";', "./a.ts", false],
  ['import * as all from "./a.ts";', "./a.ts", false],
  ['import "./a.ts";', "./a.ts", false],
  ["import { a } from './a.ts';", "./a.ts", false],
  ['export * from "./a.ts";', "./a.ts", false],
  ['export type { A } from "./a.ts";', "./a.ts", true],
  ['export { a as b } from "./a.ts";', "./a.ts", false],
  ['const a = await import("./a.ts");', "./a.ts", false],
  ['let a: import("./a.ts").A;', "./a.ts", false],
  ["const a = await import(name);", "./computed", false],
])("%j is an import", (text, specifier, typeOnly) => {
  expect(importsIn(`/** A file. */\n${text}\nexport const z = 1;\n`)).toEqual([{ specifier, typeOnly }]);
});

test("what only looks like an import is none", () => {
  const text =
    '// import { a } from "./a.ts";\n/*\nimport "./b.ts";\n*/\nconst from = "import";\nexport const c = from;';
  expect(importsIn(text)).toEqual([]);
});

test("a circle is found, however long, and through types", () => {
  const ring = (...files: string[]) =>
    new Map(files.map((file, at) => [`src/${file}`, [value(`./${files[(at + 1) % files.length]}`)]]));
  expect(circleIn(ring("a.ts"))).toEqual(["src/a.ts", "src/a.ts"]);
  expect(circleIn(ring("a.ts", "b.ts", "c.ts"))).toEqual(["src/a.ts", "src/b.ts", "src/c.ts", "src/a.ts"]);
  const line = new Map([...ring("a.ts", "b.ts", "c.ts")].slice(0, 2));
  expect(circleIn(line)).toBeUndefined();
  const typed = new Map([...line, ["src/c.ts", [{ specifier: "./b.ts", typeOnly: true }]]]);
  expect(circleIn(typed)).toEqual(["src/b.ts", "src/c.ts", "src/b.ts"]);
});
