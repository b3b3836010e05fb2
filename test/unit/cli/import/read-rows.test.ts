import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type FileRow, readRows } from "../../../../src/cli/import/read-rows.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cartwright-rows-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function readFile(name: string, text: string): Promise<FileRow[]> {
  const path = join(folder, name);
  await writeFile(path, text);
  return Array.fromAsync(readRows(path, { maxCellLines: 10, onRead() {} }));
}

const readCsvRows = (price: string, stock: string) =>
  readFile(
    "rows.csv",
    `sku,name,category_slug,price_minor_units,currency_code,stock_quantity\nS-1,Chair,home,${price},EUR,${stock}\n`,
  );
const readJsonRows = (minorUnits: unknown, stockQuantity: unknown) =>
  readFile(
    "rows.ndjson",
    JSON.stringify({ sku: "S-1", price: { minorUnits, currencyCode: "EUR" }, stockQuantity }),
  );

describe("the tax class and the weight of a CSV row", () => {
  const readShipping = async (columns: string, cells: string) => {
    const header = "sku,name,category_slug,price_minor_units,currency_code";
    const [row] = await readFile("shipping.csv", `${header}${columns}\nS-1,Book,books,1999,EUR${cells}\n`);
    return row;
  };

  test("cells have the values of their product", async () => {
    const row = await readShipping(",tax_class,weight_grams", ",reduced,450");
    expect(row?.message).toMatchObject({ taxClass: "reduced", weightGrams: 450n });
  });

  test("empty cells mean the standard class and no weight", async () => {
    const row = await readShipping(",tax_class,weight_grams", ",,");
    expect(row?.message).toMatchObject({ taxClass: "", weightGrams: 0n });
  });

  test("without the columns both are absent", async () => {
    const row = await readShipping("", "");
    expect(row?.error).toBeUndefined();
    expect(row?.message.taxClass).toBeUndefined();
    expect(row?.message.weightGrams).toBeUndefined();
  });

  test("a weight in other units is an error", async () => {
    const row = await readShipping(",weight_grams", ",0.45");
    expect(row?.error?.description).toBe('weight_grams: must be a whole number such as 1999, not "0.45"');
  });
});

describe("numbers", () => {
  test.each(["0x10", "0o17", "0b11", "+3", " 7 ", " ", "24.00", "1e3", "-", "1 000", "1,000", "seven"])(
    "%j in a CSV cell is an error",
    async (text) => {
      const description = `must be a whole number such as 1999, not ${JSON.stringify(text)}`;
      for (const [column, rows] of [
        ["price_minor_units", await readCsvRows(`"${text}"`, "1")],
        ["stock_quantity", await readCsvRows("1", `"${text}"`)],
      ] as const) {
        expect(rows).toMatchObject([
          { message: { sku: "S-1" }, error: { description: `${column}: ${description}`, lines: [2, 2] } },
        ]);
        expect(rows[0]?.message.price).toBeUndefined();
      }
    },
  );

  test.each(["0x10", "0o17", "+3", " 7 ", " ", "", "24.5", "seven"])(
    "%j in a string of JSON is an error",
    async (text) => {
      const description = `must be a whole number such as "42", not ${JSON.stringify(text)}`;
      for (const [field, rows] of [
        ["price.minor_units", await readJsonRows(text, "1")],
        ["stock_quantity", await readJsonRows("1", text)],
      ] as const) {
        expect(rows).toMatchObject([
          { message: { sku: "S-1" }, error: { description: `${field}: ${description}`, lines: [1, 1] } },
        ]);
      }
    },
  );

  test("in digits are read from both, and those in JSON as ProtoJSON has them", async () => {
    for (const [rows, minorUnits, stockQuantity] of [
      [await readCsvRows("1999", "0"), 1999n, 0n],
      [await readCsvRows("0020", "-5"), 20n, -5n],
      [await readCsvRows("1", ""), 1n, undefined],
      [await readJsonRows(1999, "0"), 1999n, 0n],
      [await readJsonRows("1e3", "24.00"), 1000n, 24n],
    ] as const) {
      expect(rows).toMatchObject([{ message: { price: { minorUnits } }, error: undefined }]);
      expect(rows[0]?.message.stockQuantity).toBe(stockQuantity);
    }
  });
});
