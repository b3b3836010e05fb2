import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  csvFile,
  csvRow,
  importLine,
  startImport,
  writeImportFile,
} from "../../support/import/import-files.ts";
import { createCategorySlug } from "../../support/import/import-rows.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

let shop: TestShop;
let slug: string;
let folder: string;
beforeAll(async () => {
  [shop, folder] = await Promise.all([startShop(), mkdtemp(join(tmpdir(), "cartwright-damaged-"))]);
  slug = await createCategorySlug(shop);
});
beforeEach(() => shop.database.query("truncate product cascade"));
afterAll(async () => {
  await shop.close();
  await rm(folder, { recursive: true, force: true });
});

const writeFile = (name: string, content: string | Uint8Array) => writeImportFile(folder, name, content);
const runImport = (path: string, ...args: string[]) => startImport([path, "--url", shop.url, ...args]).ended;
const runFullImport = (path: string, ...args: string[]) => runImport(path, "--mode", "full", ...args);
const skus = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);

async function countProducts(prefix: string) {
  const [counts] = await shop.database.query<{ active: number; deleted: number }>(
    `select count(*) filter (where active)::int as active, count(*) filter (where not active)::int as deleted
     from product where sku like $1 || '%'`,
    [prefix],
  );
  return counts;
}

/** Creates 100 products, `p-1` to `p-100`, and returns the rows of a file with them. */
async function createHundred(): Promise<string[]> {
  const file = csvFile(slug, skus("p-", 100));
  await runImport(await writeFile("hundred.csv", file));
  return file.split(/(?<=\n)/);
}

describe("a compressed file", () => {
  // Text that gzip cannot shorten much, so that the break comes after several reads of the file.
  const text = () =>
    csvFile(slug, []) +
    skus("z-", 8_000)
      .map((sku, index) => csvRow(slug, sku, { description: Math.sin(index).toString(36) }))
      .join("");

  test.each([
    [
      "that is truncated",
      (gzip: Buffer) => gzip.subarray(0, gzip.length / 2),
      "its compressed data is truncated",
    ],
    ["without its last bytes", (gzip: Buffer) => gzip.subarray(0, -4), "its compressed data is truncated"],
    [
      "with a changed byte",
      (gzip: Buffer) => gzip.with(-8, (gzip.at(-8) ?? 0) ^ 0xff),
      "its compressed data is corrupted",
    ],
    [
      "with one changed bit in a sku, after which it can still be decompressed",
      () => {
        const gzip = gzipSync(text(), { level: 0 });
        const at = gzip.indexOf("z-7000,");
        return gzip.with(at, (gzip.at(at) ?? 0) ^ 1);
      },
      "its compressed data is corrupted (incorrect data check)",
    ],
    [
      "that other data follows",
      (gzip: Buffer) => Buffer.concat([gzip, Buffer.from("garbage")]),
      "its compressed data is corrupted",
    ],
    [
      "whose second member is truncated",
      (gzip: Buffer) => Buffer.concat([gzip, gzipSync(csvRow("x", "y")).subarray(0, 20)]),
      "its compressed data is truncated",
    ],
  ])(
    "%s is an error, and none of its rows is imported, although those before the damage seem valid",
    async (_, damage, reason) => {
      await createHundred();
      const path = await writeFile("damaged.csv.gz", damage(gzipSync(text())));
      const { code, out, errors } = await runFullImport(path, "--max-deletes", "100");
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(errors).not.toMatch(/\n\s+at /);
      expect(errors).toContain(`${path} cannot be read: ${reason}`);
      expect(await countProducts("")).toEqual({ active: 100, deleted: 0 });
      expect(await countProducts("p-")).toEqual({ active: 100, deleted: 0 });
    },
  );

  test.each([
    ["that is not compressed", () => Buffer.from(text()), "it is not compressed with gzip"],
    ["that is empty", () => Buffer.alloc(0), "its compressed data is truncated"],
    [
      "that ends within its header",
      () => gzipSync(text()).subarray(0, 5),
      "its compressed data is truncated",
    ],
  ])("%s is an error, and nothing is imported", async (_, content, reason) => {
    const path = await writeFile("damaged.csv.gz", content());
    const { code, out, errors } = await runImport(path);
    expect({ code, out, errors }).toEqual({
      code: 1,
      out: "",
      errors: `${path} cannot be read: ${reason}.\n`,
    });
    expect(await shop.database.query("select from product")).toEqual([]);
  });

  test("of several members, as concatenated files have, is imported as a whole", async () => {
    const members = [csvFile(slug, skus("m-", 3)), csvRow(slug, "m-4"), csvRow(slug, "m-5")];
    const path = await writeFile("members.csv.gz", Buffer.concat(members.map((member) => gzipSync(member))));
    expect(await runImport(path)).toMatchObject({ code: 0, out: expect.stringContaining(" 5 created") });
  });

  test("of JSON lines that is truncated imports nothing", async () => {
    const lines = skus("j-", 5_000).map((sku, index) =>
      importLine(sku, slug, { description: `${Math.sin(index)}` }),
    );
    const gzip = gzipSync(lines.join("\n"));
    const path = await writeFile("lines.ndjson.gz", gzip.subarray(0, gzip.length / 2));
    const { code, errors } = await runImport(path);
    expect({ code, errors }).toMatchObject({ code: 1, errors: expect.stringContaining("is truncated") });
    expect(await countProducts("")).toEqual({ active: 0, deleted: 0 });
  });
});

describe("a file without compression", () => {
  test("that is not UTF-8 is an error after its rows before that are imported, and deletes nothing", async () => {
    await createHundred();
    const text = Buffer.from(csvFile(slug, skus("u-", 8_000)));
    const path = await writeFile("text.csv", Buffer.concat([text, Buffer.from([0xff])]));
    const { code, out, errors } = await runFullImport(path, "--max-deletes", "100");
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(errors).toContain(`${path} cannot be read: it is not UTF-8`);
    const [, rows = ""] =
      /The ([\d,]+) rows before that are imported .* nothing was deleted/.exec(errors) ?? [];
    const rowCount = Number(rows.replaceAll(",", ""));
    expect(rowCount).toBeGreaterThan(1_000);
    expect(await countProducts("u-")).toEqual({ active: rowCount, deleted: 0 });
    expect(await countProducts("p-")).toEqual({ active: 100, deleted: 0 });
  });

  test.each(["missing.csv", "missing.csv.gz"])(
    "that does not exist (%s) is a plain message",
    async (name) => {
      const path = join(folder, name);
      expect(await runImport(path)).toEqual({
        code: 1,
        out: "",
        errors: `${path} cannot be read: it does not exist.\n`,
      });
    },
  );

  test("that is a folder is a plain message", async () => {
    const path = join(folder, "folder.csv");
    await mkdir(path);
    expect(await runImport(path)).toEqual({
      code: 1,
      out: "",
      errors: `${path} cannot be read: it is not a regular file.\n`,
    });
  });
});

describe("a full import", () => {
  test("of half a file deletes nothing, says what it would delete, and prints the command that deletes it", async () => {
    const [header = "", ...rows] = await createHundred();
    const path = await writeFile("half.csv", header + rows.slice(0, 51).join(""));
    const { code, out, errors } = await runFullImport(path);
    expect(code).toBe(1);
    expect(out).toMatch(
      /^Imported 51 rows in .* 0 created, 0 updated, 51 unchanged, 0 deleted, 0 failed\.\n$/,
    );
    const [problem, advice, command = "", ...rest] = errors.split("\n");
    expect([problem, advice, ...rest]).toEqual([
      `Nothing was deleted: 49 of 100 products are missing in ${path}, more than the 5 that may be deleted by default.`,
      "If the file is complete and they are to be deleted, run:",
      "",
    ]);
    expect(await countProducts("p-")).toEqual({ active: 100, deleted: 0 });
    const [, args = ""] = /^ {2}npm run import -- (.*)$/.exec(command) ?? [];
    expect(args).toMatch(/ --mode full --max-deletes 49 /);
    const again = await startImport(args.split(" ")).ended;
    expect(again).toMatchObject({ code: 0, out: expect.stringContaining(" 49 deleted") });
    expect(await countProducts("p-")).toEqual({ active: 51, deleted: 49 });
  });

  test("beyond its own --max-deletes names this option", async () => {
    const [header = "", ...rows] = await createHundred();
    const path = await writeFile("few.csv", header + rows.slice(0, 90).join(""));
    const { errors } = await runFullImport(path, "--max-deletes", "9");
    expect(errors).toContain(`10 of 100 products are missing in ${path}, more than --max-deletes 9.\n`);
  });

  test("of rows without a valid sku deletes nothing, and names them", async () => {
    const [header = "", ...rows] = await createHundred();
    for (const index of [6, 11]) rows[index] = csvRow(slug, `p ${index + 1}`);
    const path = await writeFile("skus.csv", header + rows.join(""));
    const { code, out, errors } = await runFullImport(path, "--max-deletes", "100");
    expect(code).toBe(1);
    expect(out).toMatch(/ 2 failed\.\n {2}row 7, sku: .+\n {2}row 12, sku: .+\n$/);
    expect(errors).toMatch(/^Nothing was deleted: rows without a valid sku/);
    expect(await countProducts("p-")).toEqual({ active: 100, deleted: 0 });
  });

  test("of a file in which two stray quotes make one cell of 51 rows deletes nothing, and names their lines", async () => {
    const [header = "", ...rows] = await createHundred();
    rows[9] = csvRow(slug, "p-10", { name: '"Product' });
    rows[60] = csvRow(slug, "p-61", { name: 'Product"' });
    const path = await writeFile("quotes.csv", header + rows.join(""));
    const { code, out, errors } = await runFullImport(path, "--max-deletes", "100");
    expect(code).toBe(1);
    expect(out).toMatch(
      /^Imported 49 rows .* 48 unchanged, 0 deleted, 1 failed\.\n {2}row 10, lines 11 to 62: a quoted cell has more than 10 lines/,
    );
    expect(errors).toContain("Nothing was deleted");
    expect(await countProducts("p-")).toEqual({ active: 100, deleted: 0 });
  });

  test.each([
    [1, "name"],
    [3, "name"],
    [1, "description"],
    [2, "description"],
  ] as const)(
    "of a file in which two stray quotes swallow %i rows from a %s on deletes nothing, although the cell is short",
    async (count, column) => {
      const [header = "", ...rows] = await createHundred();
      rows[9] = csvRow(slug, "p-10", { [column]: '"Text' });
      rows[9 + count] = csvRow(slug, `p-${10 + count}`, { [column]: 'Text"' });
      const path = await writeFile("quotes.csv", header + rows.join(""));
      const { code, out } = await runFullImport(path, "--max-deletes", "100");
      expect(code).toBe(1);
      expect(out).toMatch(
        new RegExp(`1 failed\\.\\n {2}row 10, lines 11 to ${11 + count}: a quoted cell contains other rows`),
      );
      expect(await countProducts("p-")).toEqual({ active: 100, deleted: 0 });
    },
  );

  test("of a file with a quote that is never closed deletes nothing, and names the lines", async () => {
    const [header = "", ...rows] = await createHundred();
    rows[95] = csvRow(slug, "p-96", { name: '"Product' });
    const path = await writeFile("quotes.csv", header + rows.join(""));
    const { code, out } = await runFullImport(path);
    expect(code).toBe(1);
    expect(out).toMatch(/1 failed\.\n {2}row 96, lines 97 to 102: a quote is not closed/);
    expect(await countProducts("p-")).toEqual({ active: 100, deleted: 0 });
  });
});

test("cells of several lines are imported, and of more than 10 lines with --max-cell-lines", async () => {
  const text = (lines: number) =>
    `"${Array.from({ length: lines }, (_, n) => `Line ${n}, and more`).join("\n")}"`;
  const rows = [10, 11].map((lines) => csvRow(slug, `t-${lines}`, { description: text(lines) }));
  const path = await writeFile("long-cells.csv", csvFile(slug, []) + rows.join(""));
  const errorsFile = join(folder, "errors.ndjson");
  expect(await runImport(path, "--errors", errorsFile)).toMatchObject({
    code: 1,
    out: expect.stringContaining("row 2, lines 12 to 22: a quoted cell has more than 10 lines"),
  });
  expect(JSON.parse(await readFile(errorsFile, "utf8"))).toMatchObject({ row: 2, line: 12, sku: "" });
  const { code, out } = await runImport(path, "--max-cell-lines", "11");
  expect({ code, out }).toMatchObject({
    code: 0,
    out: expect.stringContaining("1 created, 0 updated, 1 unchanged"),
  });
});
