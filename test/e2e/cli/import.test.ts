import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { importLine, importLines, startImport, writeImportFile } from "../../support/import/import-files.ts";
import { createCategorySlug } from "../../support/import/import-rows.ts";
import { startShop, type TestShop } from "../../support/shop.ts";
import { countLockWaits, lockProduct } from "../../support/stores/database-activity.ts";
import { findViolations } from "../../support/stores/invariants.ts";
import { startTcpProxy, type TcpProxy } from "../../support/stores/tcp-proxy.ts";

let shop: TestShop;
let slug: string;
let folder: string;
beforeAll(async () => {
  [shop, folder] = await Promise.all([startShop(), mkdtemp(join(tmpdir(), "cartwright-import-"))]);
  slug = await createCategorySlug(shop);
});
afterAll(async () => {
  await shop.close();
  await rm(folder, { recursive: true, force: true });
});

const writeFile = (name: string, content: string | Uint8Array) => writeImportFile(folder, name, content);
const runImport = (path: string, ...args: string[]) => startImport([path, "--url", shop.url, ...args]).ended;
const line = (sku: string, fields: object = {}) => importLine(sku, slug, fields);
const lines = (prefix: string, count: number, fields: object = {}) =>
  importLines(prefix, count, slug, fields);

const bySku = async (sku: string) =>
  (await shop.catalog.getProduct({ key: { case: "sku", value: sku } })).product;

test("a file of 10,000 products is imported, and importing it again changes nothing", async () => {
  const path = await writeFile(
    "many.ndjson",
    lines("M-", 10_000, { stockQuantity: 3, attributes: { color: "red" } }),
  );
  const first = await runImport(path);
  expect(first).toMatchObject({ code: 0 });
  expect(first.out).toMatch(
    /^Imported 10,000 rows in [\d.]+ s: 10,000 created, 0 updated, 0 unchanged, 0 deleted, 0 failed\.\n$/,
  );
  expect(await bySku("M-10000")).toMatchObject({ stockQuantity: 3n, attributes: { color: "red" } });
  expect((await runImport(path)).out).toMatch(
    /: 0 created, 0 updated, 10,000 unchanged, 0 deleted, 0 failed\.\n$/,
  );
  expect(await findViolations(shop.database.url)).toEqual([]);
});

test("invalid lines are reported with their row numbers and reasons, the others are imported, and the exit code is 1", async () => {
  const bad = [
    '{"sku": "broken", ',
    "[]",
    line("cents", { price: { currencyCode: "EUR", minorUnits: "1.5" } }),
    line("misspelt", { stock: 3 }),
    line("b-5", { category_slug: "nowhere", categorySlug: undefined }),
    "",
    line("b-6", { price: undefined }),
  ];
  const path = await writeFile("bad.jsonl", `${line("good-1")}\r\n${bad.join("\n")}\n${line("good-2")}`);
  const report = join(folder, "errors.ndjson");
  const { code, out } = await runImport(path, "--errors", report);
  expect(code).toBe(1);
  const [summary, ...reported] = out.trimEnd().split("\n");
  expect(summary).toMatch(/^Imported 8 rows .* 2 created, .* 6 failed\.$/);
  expect(reported).toEqual([
    expect.stringMatching(/^ {2}row 2, line 2: .*JSON/),
    expect.stringMatching(/^ {2}row 3, line 3: it is not a JSON object$/),
    expect.stringMatching(
      /^ {2}row 4, line 4, cents: price\.minor_units: must be a whole number such as "42", not "1\.5"$/,
    ),
    expect.stringMatching(/^ {2}row 5, line 5, misspelt: ImportRow: key "stock" is unknown/),
    expect.stringMatching(/^ {2}row 6, b-5, category_slug: does not name a category$/),
    expect.stringMatching(/^ {2}row 7, b-6, price: /),
    `6 errors written to ${report}.`,
  ]);
  const written = (await readFile(report, "utf8")).trimEnd().split("\n");
  expect(written.map((text) => JSON.parse(text).row)).toEqual([2, 3, 4, 5, 6, 7]);
  expect(JSON.parse(written[2] ?? "")).toEqual({
    row: 4,
    line: 4,
    sku: "cents",
    field: "",
    description: 'price.minor_units: must be a whole number such as "42", not "1.5"',
  });
  expect(await bySku("good-2")).toMatchObject({ name: "good-2" });
});

describe("CSV", () => {
  const columns =
    "sku,name,category_slug,price_minor_units,currency_code,stock_quantity,attributes.color,description";

  test("a CSV file is read as spreadsheets write it, with quotes, a byte order mark and compression", async () => {
    const rows = [
      `C-1,"Chair, ""small""",${slug},1999,EUR,5,red,"two\r\nlines"`,
      `C-2,Tisch für Gäste,${slug},0,EUR,,,`,
      `C-3,Short,${slug},1`,
      `C-4,No price,${slug},,,,,`,
      `C-5,Cents,${slug},19.99,EUR,,,`,
      `C-6,A "quote",${slug},1,EUR,,,`,
    ];
    const path = await writeFile("chairs.csv.gz", gzipSync(`\uFEFF${columns}\r\n${rows.join("\r\n")}\r\n`));
    const { code, out } = await runImport(path);
    expect(code).toBe(1);
    expect(out).toMatch(
      /2 created, .* 4 failed\.\n {2}row 3, line 5: it has 4 cells, but the header has 8\n {2}row 4, C-4, price/,
    );
    expect(out).toMatch(
      /row 5, line 7, C-5: price_minor_units: .*\n {2}row 6, line 8: an unquoted cell contains a quote/,
    );
    const product = await bySku("C-1");
    expect(product).toMatchObject({
      name: 'Chair, "small"',
      stockQuantity: 5n,
      attributes: { color: "red" },
    });
    expect(product).toMatchObject({ price: { minorUnits: 1_999n }, description: "two\r\nlines" });
    expect(await bySku("C-2")).toMatchObject({ name: "Tisch für Gäste", stockQuantity: 0n, attributes: {} });
  });

  test.each([
    ["without a header", "", "empty"],
    ["without a required column", "sku,name\n", "currency_code is missing"],
    [
      "without a category",
      "sku,name,price_minor_units,currency_code\n",
      "category_slug or category_id is missing",
    ],
    ["with semicolons", columns.replaceAll(",", ";"), "Separate the cells by commas."],
    ["with a duplicate column", `${columns},sku\n`, "sku occurs twice"],
    ["with an unknown column", `${columns},colour\n`, '"colour" is unknown'],
    ["in Latin-1", Buffer.from(`${columns}\nCä,`, "latin1"), "not UTF-8"],
  ])("a CSV file %s is rejected with the reason, without a stack", async (_, content, message) => {
    const { code, errors } = await runImport(await writeFile("odd.csv", content));
    expect(code).toBe(1);
    expect(errors).toContain(message);
    expect(errors).not.toMatch(/\n\s+at /);
  });
});

describe("a full import", () => {
  test("a full import deletes the products that are not in the file, but none while a line cannot be read", async () => {
    await runImport(await writeFile("all.ndjson", lines("F-", 5)));
    const maxDeletes = ["--max-deletes", "1000000"];
    const broken = await writeFile("rest.ndjson", `${line("F-1")}\n{"sku": "F-2"\n`);
    const rejected = await runImport(broken, "--mode", "full", ...maxDeletes);
    expect(rejected.code).toBe(1);
    expect(rejected.out).toMatch(/^Imported 2 rows .* 0 deleted, 1 failed\.\n {2}row 2, line 2: .*\n$/);
    expect(rejected.errors).toMatch(/^Nothing was deleted: rows without a valid sku/);
    expect(await bySku("F-5")).toMatchObject({ name: "F-5" });
    const { code, out } = await runImport(
      await writeFile("rest.ndjson", `${line("F-1")}\n`),
      "--mode",
      "full",
      ...maxDeletes,
    );
    expect(code).toBe(0);
    expect(out).toMatch(/: 0 created, 0 updated, 1 unchanged, [\d,]+ deleted, 0 failed\.\n$/);
    await expect(bySku("F-5")).rejects.toThrow();
  });
});

describe("an unavailable service", () => {
  let proxy: TcpProxy;
  beforeAll(async () => {
    proxy = await startTcpProxy(Number(new URL(shop.url).port));
  });
  afterAll(() => proxy.close());
  const countWrittenRows = async () => {
    const [row] = await shop.database.query<{ count: string }>(
      "select coalesce(max(row_count), 0) as count from product_import where finished_at is null and mode = 'INCREMENTAL'",
    );
    return Number(row?.count ?? 0);
  };

  test("an import resumes by itself where it was interrupted once the service is available again", async () => {
    // Its batch waits for the lock, so the import cannot finish before the connection is cut.
    await runImport(await writeFile("locked.ndjson", line("L-10000")));
    await shop.database.query("begin");
    await shop.database.query("select from product where sku = 'L-10000' for update");
    const path = await writeFile("long.ndjson", lines("L-", 20_000));
    const { child, ended } = startImport([path, "--url", `http://127.0.0.1:${proxy.port}`]);
    const retrying = new Promise<void>((resolve) => {
      child.stderr.on("data", (data) => {
        if (String(data).includes("Retrying in")) resolve();
      });
    });
    await expect.poll(countWrittenRows, { interval: 20 }).toBeGreaterThan(1_000);
    await proxy.cut();
    await shop.database.query("rollback");
    await retrying;
    await proxy.restore();
    const { code, out, errors } = await ended;
    expect({ code, errors }).toMatchObject({ code: 0, errors: expect.stringContaining("Retrying in") });
    expect(out).toMatch(
      /^Imported 20,000 rows .* 19,999 created, 0 updated, 1 unchanged, 0 deleted, 0 failed\.\n$/,
    );
  });

  test("an import gives up after some attempts, and can be resumed by its request id", async () => {
    // Its batch waits for the lock, so the import cannot finish before the connection is cut.
    await runImport(await writeFile("locked.ndjson", line("A-3")));
    const release = await lockProduct(shop.database, "A-3");
    const path = await writeFile("later.ndjson", lines("A-", 3));
    const { ended } = startImport([path, "--url", `http://127.0.0.1:${proxy.port}`]);
    await expect.poll(() => countLockWaits(shop.database)).toBe(1);
    await proxy.cut();
    await expect.poll(() => countLockWaits(shop.database)).toBe(0);
    await release();
    const { code, out, errors } = await ended;
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(errors).toContain(`The import to http://127.0.0.1:${proxy.port} failed: `);
    expect(errors).not.toMatch(/\n\s+at /);
    const [, requestId = ""] = /--request-id ([\da-f-]{36})/.exec(errors) ?? [];
    expect((await runImport(path, "--request-id", requestId)).out).toMatch(/^Imported 3 rows in /);
    expect((await runImport(path, "--request-id", requestId)).out).toMatch(
      /^Imported 3 rows by an earlier run: 2 created/,
    );
  });
});

test.each([
  [[], "Name one file"],
  [["a.ndjson", "b.ndjson"], "Name one file"],
  [["products.xlsx"], "products.xlsx is not"],
  [["none.ndjson", "--mode", "all"], '--mode must be incremental or full, not "all"'],
  [["none.ndjson", "--url", "shop"], "--url must be"],
  [["none.ndjson", "--request-id", "7"], "--request-id must be a UUID"],
  [["none.ndjson", "--full"], "Unknown option '--full'"],
  [["none.ndjson", "--max-deletes", "5"], "--max-deletes needs --mode full"],
  [["none.ndjson", "--mode", "full", "--max-deletes", "5%"], "--max-deletes must be a whole number"],
  [["none.csv", "--max-cell-lines", "0"], "--max-cell-lines must be a whole number from 1 to 10,000"],
])("the arguments %j are rejected with advice, without a stack", async (args, message) => {
  const { code, out, errors } = await startImport(args).ended;
  expect({ code, out }).toEqual({ code: 1, out: "" });
  const [line, hint, ...rest] = errors.split("\n");
  expect(line).toContain(message);
  expect([hint, ...rest]).toEqual(["For all options: npm run import -- --help", ""]);
});

test.each([
  [["none.ndjson", "--full"], "Unknown option '--full'."],
  [["none.ndjson", "--mode", "--full"], "Option '--mode' argument is ambiguous."],
  [["none.ndjson", "--mode"], "Option '--mode <value>' argument missing."],
])("of the arguments %j only the wrong option is reported", async (args, message) => {
  const { errors } = await startImport(args).ended;
  expect(errors).toBe(`${message}\nFor all options: npm run import -- --help\n`);
});

test("a file that does not exist is reported without a stack", async () => {
  const { code, out, errors } = await startImport(["none.ndjson"]).ended;
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(errors).toMatch(/^none\.ndjson cannot be read: .+\n$/);
});

test("the option --help prints the usage", async () => {
  const { code, out, errors } = await startImport(["--help"]).ended;
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  expect(out).toContain("Usage: npm run import -- FILE");
});
