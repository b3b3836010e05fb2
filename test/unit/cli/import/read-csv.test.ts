import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readCsv } from "../../../../src/cli/import/read-csv.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";

/** Reads the records of a text that comes in pieces of this length. */
async function records(text: string, length = text.length || 1, maxCellLines = 10) {
  async function* pieces() {
    for (let at = 0; at < text.length; at += length) yield text.slice(at, at + length);
  }
  const found = [];
  for await (const record of readCsv(pieces(), maxCellLines)) found.push(record);
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
        const read = await records(rows.map(line).join("\r\n"), length, 1_000);
        expect(read.map((record) => record.cells)).toEqual(rows);
        expect(read.every((record) => record.error === undefined)).toBe(true);
      }),
    );
  });

  test("each record has the numbers of its first and its last line", async () => {
    const read = await records('a\r\n"b\r\nb"\n\nc\rd\n"e\n\nf"');
    expect(read.map(({ line, lastLine }) => [line, lastLine])).toEqual([
      [1, 1],
      [2, 3],
      [5, 5],
      [6, 6],
      [7, 9],
    ]);
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
    expect(second).toEqual({ cells: ["d", "e"], line: 2, lastLine: 2, error: undefined });
    expect(rest).toEqual([]);
  });

  test("a quote that is not closed is reported at the end of the text", async () => {
    const [first, second] = await records('a,b\nc,"d\ne');
    expect(first?.error).toBeUndefined();
    expect(second).toEqual({
      cells: ["c", "d\ne"],
      line: 2,
      lastLine: 3,
      error: "a quote is not closed",
    });
  });

  test.each(["\n", "\r\n", "\r"])(
    "a quoted cell may have 3 lines that end with %j when that is the limit, and not 4",
    async (lineEnd) => {
      const read = await records(
        `a,"1${lineEnd}2${lineEnd}3"\nb,"1${lineEnd}2${lineEnd}3${lineEnd}4",c\nd`,
        1,
        3,
      );
      expect(read.map(({ line, lastLine, error }) => [line, lastLine, error])).toEqual([
        [1, 3, undefined],
        [4, 7, expect.stringMatching(/^a quoted cell has more than 3 lines.*misplaced.*--max-cell-lines$/)],
        [8, 8, undefined],
      ]);
    },
  );

  test("each quoted cell of a record may have as many lines as the limit", async () => {
    const [record] = await records('"1\n2","1\n2","1\n2"', 1, 2);
    expect(record).toMatchObject({ line: 1, lastLine: 4, error: undefined });
  });

  test("a quote that is never closed ends the reading before the record fills the memory", async () => {
    const endless = records(`a\nb,"${"c\n".repeat(600_000)}`, 10_000);
    await expect(endless).rejects.toThrow(StartupError);
    await expect(endless).rejects.toThrow("begins in line 2");
  });
});
