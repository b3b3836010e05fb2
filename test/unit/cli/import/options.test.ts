import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { formatCommand, readOptions } from "../../../../src/cli/import/options.ts";

const REQUEST_ID = "8a4b9f6e-3d52-4c1a-9be7-52f0c7a1d3b4";

/** Returns the arguments that a shell passes to a command after `npm run import --`. */
function argumentsOf(command: string): string[] {
  const [, text = ""] = /^npm run import -- (.*)$/s.exec(command) ?? [];
  const printed = execFileSync("sh", ["-c", `printf '%s\\0' ${text}`], { encoding: "utf8" });
  return printed.split("\0").slice(0, -1);
}

test.each([
  [["products.csv"]],
  [["products.csv", "--mode", "full", "--max-deletes", "0"]],
  [['it\'s 5 $HOME `x` "new"\n.csv', "--errors", "the errors*.ndjson"]],
  [["über.csv.gz", "--url", "https://shop.example.com:8443/?a=1&b=2", "--max-cell-lines", "11"]],
])("a shell reads the options %j from the printed command", (args) => {
  const options = readOptions([...args, "--request-id", REQUEST_ID]);
  if (options === undefined) throw new Error("help is requested");
  expect(readOptions(argumentsOf(formatCommand(options)))).toEqual(options);
});

test("the printed command leaves out the options with default values", () => {
  const options = readOptions(["products.csv", "--request-id", REQUEST_ID]);
  if (options === undefined) throw new Error("help is requested");
  expect(formatCommand(options)).toBe(`npm run import -- products.csv --request-id ${REQUEST_ID}`);
});
