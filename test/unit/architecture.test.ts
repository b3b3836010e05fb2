import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { describe, expect, test } from "vitest";
import {
  findCycle,
  type Import,
  importsIn,
  readSources,
  targetOf,
  violationOf,
} from "../support/architecture.ts";

const sources = readSources();
const all = [...sources].flatMap(([from, imports]) => imports.map((one) => ({ from, ...one })));
const value = (specifier: string): Import => ({ specifier, typeOnly: false });

describe("the source tree", () => {
  test("the source tree is read with its files and imports", () => {
    expect(sources.size).toBeGreaterThan(50);
    expect(all.length).toBeGreaterThan(200);
    expect(all).toContainEqual({ from: "src/main.ts", specifier: "./app.ts", typeOnly: false });
  });

  test("the source tree keeps the import rules of docs/architecture.md", () => {
    const violations = all.flatMap(({ from, ...one }) => {
      const violation = violationOf(from, one);
      return violation === undefined ? [] : [`${from} imports ${one.specifier}: ${violation}`];
    });
    expect(violations).toEqual([]);
  });

  test("the source tree has no import cycles, not even of types", () => {
    expect(findCycle(sources)).toBeUndefined();
  });

  test("the source tree imports only files that exist", () => {
    const missing = all.filter(({ from, specifier }) => {
      const target = targetOf(from, specifier);
      return target !== undefined && !existsSync(target);
    });
    expect(missing).toEqual([]);
  });

  test("the source tree has no file of more than 300 lines", () => {
    const files = ["src", "bench", "test"].flatMap((folder) =>
      globSync(`${folder}/**/*.ts`, { exclude: ["test/conformance/gen/**"] }),
    );
    const lines = (path: string) => readFileSync(path, "utf8").trimEnd().split("\n").length;
    expect(files.filter((path) => lines(path) > 300)).toEqual([]);
  });

  test("the source tree has no folder of more than twelve files", () => {
    const counts = Map.groupBy(globSync("src/**/*.*"), dirname);
    const large = [...counts].filter(([, files]) => files.length > 12).map(([folder]) => folder);
    expect(large).toEqual([]);
  });

  test("the source tree uses no decorators and no dependency container", () => {
    const decorated = [...sources.keys()].filter((path) => /^\s*@\w+\(/m.test(readFileSync(path, "utf8")));
    expect(decorated).toEqual([]);
    expect(
      all.filter(({ specifier }) => /inversify|tsyringe|reflect-metadata|awilix/.test(specifier)),
    ).toEqual([]);
  });
});

describe("the check rejects", () => {
  test.each([
    ["src/kernel/page.ts", "../infra/postgres/postgres.ts"],
    ["src/kernel/page.ts", "../catalog/catalog.ts"],
    ["src/kernel/page.ts", "../config.ts"],
    ["src/kernel/page.ts", "../../gen/cartwright/type/v1/money_pb.ts"],
    ["src/kernel/page.ts", "@bufbuild/protobuf"],
    ["src/kernel/page.ts", "@mikro-orm/core"],
    ["src/infra/postgres/postgres.ts", "../../catalog/catalog.entity.ts"],
    ["src/infra/postgres/postgres.ts", "../../rpc/server/server.ts"],
    ["src/infra/postgres/postgres.ts", "../../entities.ts"],
    ["src/infra/postgres/postgres.ts", "../../../gen/google/rpc/error_details_pb.ts"],
    ["src/infra/postgres/postgres.ts", "@connectrpc/connect"],
    ["src/infra/embedded/redis/embedded-redis.ts", "../../../app.ts"],
    ["src/rpc/server/connect-adapter.ts", "../../catalog/catalog.rpc.ts"],
    ["src/rpc/server/connect-adapter.ts", "../../infra/postgres/postgres.ts"],
    ["src/rpc/server/connect-adapter.ts", "../../app.ts"],
    ["src/rpc/server/connect-adapter.ts", "pg"],
    ["src/rpc/interceptors/errors.ts", "../../order/order.ts"],
    ["src/rpc/interceptors/errors.ts", "@mikro-orm/postgresql"],
    ["src/catalog/catalog.ts", "../order/order.ts"],
    ["src/catalog/catalog.ts", "../customer/customer.ts"],
    ["src/catalog/catalog.ts", "../tracker/tracker.ts"],
    ["src/catalog/product/product.ts", "../../../gen/cartwright/catalog/v1/catalog_pb.ts"],
    ["src/catalog/product/product.ts", "@bufbuild/protobuf/wkt"],
    ["src/catalog/catalog.rpc.ts", "../rpc/call/active-call.ts"],
    ["src/catalog/catalog.rpc.ts", "../rpc/server/server.ts"],
    ["src/catalog/catalog.ts", "../inventory/inventory.entity.ts"],
    ["src/inventory/inventory.ts", "../catalog/catalog.ts"],
    ["src/inventory/inventory.ts", "../order/order.ts"],
    ["src/customer/customer.ts", "../catalog/catalog.ts"],
    ["src/tracker/tracker.ts", "../order/order.ts"],
    ["src/tracker/tracker.ts", "../customer/customer.ts"],
    ["src/tracker/purchase.ts", "../catalog/catalog.entity.ts"],
    ["src/order/order.ts", "../catalog/catalog.entity.ts"],
    ["src/order/order.ts", "../catalog/product/product.ts"],
    ["src/order/order.ts", "../tracker/promotion.ts"],
    ["src/order/order.ts", "../review/review.ts"],
    ["src/order/order.ts", "../config.ts"],
    ["src/identity/identity.ts", "../order/order.ts"],
    ["src/review/review.ts", "../customer/customer.ts"],
    ["src/recommendation/recommendation.ts", "../tracker/tracker.ts"],
    ["src/operations/operations.ts", "../order/order.entity.ts"],
    ["src/order/order.ts", "../operations/operations.ts"],
    ["src/client/client.ts", "../kernel/errors.ts"],
    ["src/client/client.ts", "../rpc/policy/method-policy.ts"],
    ["src/client/client.ts", "@mikro-orm/core"],
    ["src/client/client.ts", "node:crypto"],
    ["src/client/retries.ts", "../kernel/errors.ts"],
    ["src/banner.ts", "@connectrpc/connect"],
    ["src/config.ts", "../gen/cartwright/type/v1/money_pb.ts"],
    ["src/cli/seed/seed-shop.ts", "@connectrpc/connect"],
    ["src/misc/things.ts", "../kernel/errors.ts"],
    ["src/order/order.ts", "../misc/things.ts"],
    ["src/order/order.ts", "../../test/support/shop.ts"],
  ])("the check rejects %s importing %s", (from, specifier) => {
    expect(violationOf(from, value(specifier))).toBeTypeOf("string");
    // The RPC layer may import the types of infra, and nothing else differs for types.
    const ofTypes = violationOf(from, { specifier, typeOnly: true });
    if (from.startsWith("src/rpc/") && specifier.startsWith("../../infra/")) expect(ofTypes).toBeUndefined();
    else expect(ofTypes).toBeTypeOf("string");
  });
});

test.each([
  ["src/main.ts", "./app.ts"],
  ["src/app.ts", "@connectrpc/connect"],
  ["src/cli/seed/seed-shop.ts", "../../catalog/catalog.entity.ts"],
  ["src/cli/import/send-import.ts", "@connectrpc/connect"],
  ["src/catalog/catalog.ts", "../inventory/inventory.ts"],
  ["src/order/order.ts", "../catalog/catalog.ts"],
  ["src/operations/operations.ts", "../order/order.ts"],
  ["src/order/order.ts", "../infra/postgres/postgres.ts"],
  ["src/order/order.rpc.ts", "../../gen/cartwright/order/v1/order_pb.ts"],
  ["src/rpc/server/connect-adapter.ts", "../call/active-call.ts"],
  ["src/rpc/interceptors/errors.ts", "../../kernel/errors.ts"],
  ["src/infra/embedded/redis/embedded-redis.ts", "../../../kernel/errors.ts"],
  ["src/infra/postgres/postgres.ts", "pg"],
  ["src/client/client.ts", "../../gen/cartwright/order/v1/order_pb.ts"],
  ["src/client/client.ts", "./retries.ts"],
  ["src/kernel/page.ts", "node:crypto"],
])("the check allows %s to import %s", (from, specifier) => {
  expect(violationOf(from, value(specifier))).toBeUndefined();
});

test.each([
  ['import { a } from "../a.ts";', "../a.ts", false],
  ['import {\n  type A,\n  b,\n} from "../a.ts";', "../a.ts", false],
  ['import type { A } from "../a.ts";', "../a.ts", true],
  ['import type * as all from "../a.ts";', "../a.ts", true],
  ['import a, { b } from "../a.ts";', "../a.ts", false],
  ['import * as all from "../a.ts";', "../a.ts", false],
  ['import "../a.ts";', "../a.ts", false],
  ["import { a } from '../a.ts';", "../a.ts", false],
  ['export * from "../a.ts";', "../a.ts", false],
  ['export type { A } from "../a.ts";', "../a.ts", true],
  ['export { a as b } from "../a.ts";', "../a.ts", false],
  ['const a = await import("../a.ts");', "../a.ts", false],
  ['let a: import("../a.ts").A;', "../a.ts", false],
  ["const a = await import(name);", "./computed", false],
])("%j is an import", (text, specifier, typeOnly) => {
  expect(importsIn(`/** A file. */\n${text}\nexport const z = 1;\n`)).toEqual([{ specifier, typeOnly }]);
});

test("text that only looks like an import is not counted", () => {
  const text =
    '// import { a } from "../a.ts";\n/*\nimport "./b.ts";\n*/\nconst from = "import";\nexport const c = from;';
  expect(importsIn(text)).toEqual([]);
});

test("an import cycle of any length is found, also through types", () => {
  const ring = (...files: string[]) =>
    new Map(files.map((file, at) => [`src/${file}`, [value(`./${files[(at + 1) % files.length]}`)]]));
  expect(findCycle(ring("a.ts"))).toEqual(["src/a.ts", "src/a.ts"]);
  expect(findCycle(ring("a.ts", "b.ts", "c.ts"))).toEqual(["src/a.ts", "src/b.ts", "src/c.ts", "src/a.ts"]);
  const line = new Map([...ring("a.ts", "b.ts", "c.ts")].slice(0, 2));
  expect(findCycle(line)).toBeUndefined();
  const typed = new Map([...line, ["src/c.ts", [{ specifier: "./b.ts", typeOnly: true }]]]);
  expect(findCycle(typed)).toEqual(["src/b.ts", "src/c.ts", "src/b.ts"]);
});
