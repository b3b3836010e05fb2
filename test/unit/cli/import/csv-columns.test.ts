import { expect, test } from "vitest";
import { containsRows } from "../../../../src/cli/import/csv-columns.ts";

const columns = ["sku", "name", "category_slug", "price_minor_units", "currency_code", "description"];
const NAME = columns.indexOf("name");
const DESCRIPTION = columns.indexOf("description");

test.each([
  ["the end of a row and the beginning of the next", NAME, "Chair,home,100,EUR,\nC-2,Table"],
  ["whole rows in between", NAME, "Chair,home,100,EUR,\nC-2,Sofa,home,200,EUR,Soft\nC-3,Table"],
  ["lines that end with CRLF", NAME, "Chair,home,100,EUR,\r\nC-2,Table"],
  ["rows up to the last column", DESCRIPTION, "A chair\nC-2,Table,home,100,EUR,A table"],
])("a cell with %s contains rows", (_, index, cell) => {
  expect(containsRows(columns, cell, index)).toBe(true);
});

test.each([
  ["one line", DESCRIPTION, "A, b, c, d, e, f"],
  ["lines without commas", DESCRIPTION, "A chair.\nIt is red."],
  ["lines with as many commas as a row", DESCRIPTION, "A chair\nred, green, blue, black, white, grey"],
  ["a price and a currency in other places", DESCRIPTION, "A chair\n100, EUR, red, green, blue, black"],
  ["a line of too few cells", NAME, "Chair,home,100,EUR,\nred\nC-2,Table"],
])("a cell with %s contains no rows", (_, index, cell) => {
  expect(containsRows(columns, cell, index)).toBe(false);
});
