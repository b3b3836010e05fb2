import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const file = fileURLToPath(new URL("../../long/RESULTS.md", import.meta.url));
const title =
  "# Results of the long tests\n\nWritten by `npm run test:long`. Each section is replaced by the run of its test.\n";

/**
 * Writes the table of a long test to test/long/RESULTS.md, in place of the section of the same heading.
 * @param heading of the section, without the leading "##"
 * @param columns the names of the columns
 * @param rows one text for each column
 */
export function writeLongResults(
  heading: string,
  columns: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const date = new Date().toISOString().slice(0, 10);
  const table = [columns, columns.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  const section = `## ${heading}\n\nRun on ${date} with Node ${process.versions.node}.\n\n${table.join("\n")}\n`;
  const [head = title, ...sections] = existsSync(file)
    ? readFileSync(file, "utf8").split(/^(?=## )/m)
    : [title];
  const others = sections.filter((text) => !text.startsWith(`## ${heading}\n`)).map((text) => text.trimEnd());
  const all = [...others, section.trimEnd()].sort();
  writeFileSync(file, [head.trimEnd(), ...all].join("\n\n").concat("\n"));
}
