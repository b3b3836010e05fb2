import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readCsv } from "../../../../src/cli/import/read-csv.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";

/** Reads the records of a text that comes in pieces of this length. */
async function records(text: string, length = text.length || 1) {
  async function* pieces() {
    for (let at = 0; at < text.length; at += length) yield text.slice(at, at + length);
  }
  const found = [];
  for await (const record of readCsv(pieces())) found.push(record);
  return found;
}

const cells = async (text: string) => (await records(text)).map((record) => record.cells);

describe("CSV text", () => {
  test.each([
    [
      "a,b\nc,d\n",
      [
        ["a", "b"],
        ["c", "d"],
      ],
    ],
    [
      "a,b\r\nc,d",
      [
        ["a", "b"],
        ["c", "d"],
      ],
    ],
    ["a\rb\r", [["a"], ["b"]]],
    ["", []],
    ["\n\r\n\n", []],
    ["a\n\nb", [["a"], ["b"]]],
    [",\n", [["", ""]]],
    ["a,\n", [["a", ""]]],
    ['""\n', [[""]]],
    ['"",""', [["", ""]]],
    ['"a,b",c', [["a,b", "c"]]],
    ['"a ""quoted"" word"', [['a "quoted" word']]],
    ['""""', [['"']]],
    [
      '"two\r\nlines","and\nmore"\r\nnext,one',
      [
        ["two\r\nlines", "and\nmore"],
        ["next", "one"],
      ],
    ],
    ['"a\rb"\r\nc', [["a\rb"], ["c"]]],
    [" a , b ", [[" a ", " b "]]],
    ["ä,😀\n", [["ä", "😀"]]],
  ])("%j is read into the expected cells without an error", async (text, expected) => {
    expect(await cells(text)).toEqual(expected);
    for (const record of await records(text)) expect(record.error).toBeUndefined();
  });

  test("any table that is written as quoted cells is read back unchanged, wherever the pieces end", async () => {
    const cell = fc.string({ unit: fc.constantFrom("a", ",", '"', "\r", "\n", " ", "é") });
    const table = fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(table, fc.integer({ min: 1, max: 9 }), async (rows, length) => {
        const line = (row: string[]) => row.map((text) => `"${text.replaceAll('"', '""')}"`).join(",");
        const read = await records(rows.map(line).join("\r\n"), length);
        expect(read.map((record) => record.cells)).toEqual(rows);
        expect(read.every((record) => record.error === undefined)).toBe(true);
      }),
    );
  });

  test("each record has the number of its first line", async () => {
    const lines = (await records('a\r\n"b\r\nb"\n\nc\rd')).map((record) => record.line);
    expect(lines).toEqual([1, 2, 5, 6]);
  });
});

describe("misplaced quotes", () => {
  test.each([
    ['a"b,c\nd,e', "an unquoted cell contains a quote"],
    ['"a"b,c\nd,e', "text follows a closing quote"],
    ['"a" ,"c"\nd,e', "text follows a closing quote"],
  ])("in %j the misplaced quote makes only its own record malformed", async (text, error) => {
    const [first, second, ...rest] = await records(text);
    expect(first).toMatchObject({ error, line: 1 });
    expect(second).toEqual({ cells: ["d", "e"], line: 2, error: undefined });
    expect(rest).toEqual([]);
  });

  test("a quote that is not closed is reported at the end of the text", async () => {
    const [first, second] = await records('a,b\nc,"d\ne');
    expect(first?.error).toBeUndefined();
    expect(second).toEqual({ cells: ["c", "d\ne"], line: 2, error: "a quote is not closed" });
  });

  test("a quote that is never closed ends the reading before the record fills the memory", async () => {
    const endless = records(`a\nb,"${"c\n".repeat(600_000)}`, 10_000);
    await expect(endless).rejects.toThrow(StartupError);
    await expect(endless).rejects.toThrow("begins in line 2");
  });
});
