import { mkdir, readFile, writeFile } from "node:fs/promises";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { drawSvg, type Plot } from "./plot.ts";

const FILE = join(import.meta.dirname, "../RESULTS.md");
const PLOTS = join(import.meta.dirname, "../plots");
const HEAD = `# Results

Written by \`npm run bench\` and \`npm run bench:ghz\`, one section for each part. Callers, service and stores share one
machine, so compare the numbers of one table with each other only.
`;

/** A table with its origin. */
export interface Results {
  title: string;
  notes: string;
  /** The table; the first row is its header. */
  rows: readonly (readonly string[])[];
  plots?: readonly Plot[];
  /** The versions of the stores, such as "PostgreSQL 18.4". */
  stores: string;
  /** Whether to write RESULTS.md, replacing the section of the same title, and the plots. */
  write: boolean;
}

/** Prints a table and, with `write`, stores it in RESULTS.md. */
export async function publishResults({
  title,
  notes,
  rows,
  plots = [],
  stores,
  write,
}: Results): Promise<void> {
  const table = align(rows);
  console.log(`\n${title}: ${notes}\n\n${table}\n`);
  if (!write) return;
  await mkdir(PLOTS, { recursive: true });
  for (const plot of plots) await writeFile(join(PLOTS, `${plot.name}.svg`), drawSvg(plot));
  const images = plots.map(({ name, title }) => `\n![${title}](plots/${name}.svg)\n`).join("");
  const section = `## ${title}\n\n${await describeRun(stores)}\n${notes}\n\n${table}\n${images}`;
  const text = await readFile(FILE, "utf8").catch(() => HEAD);
  const parts = text.split(/^(?=## )/m).filter((part) => !part.startsWith(`## ${title}\n`));
  const [head = HEAD, ...others] = parts.map((part) => part.trimEnd());
  await writeFile(FILE, `${[head, ...[...others, section.trimEnd()].sort()].join("\n\n")}\n`);
}

/** Describes date, versions and hardware, without naming the machine. */
async function describeRun(stores: string): Promise<string> {
  const manifest = join(import.meta.dirname, "../../package.json");
  const { version } = JSON.parse(await readFile(manifest, "utf8")) as { version: string };
  const [cpu, ...others] = cpus();
  return [
    new Date().toISOString().slice(0, 10),
    `Cartwright ${version}, Node ${process.versions.node}, ${stores}`,
    `${others.length + 1} cores (${cpu?.model.trim() ?? "unknown"}), ${process.platform} ${process.arch}`,
    `load at the end ${loadavg()[0]?.toFixed(1)}.`,
  ].join("; ");
}

/** Formats a Markdown table with aligned columns, numbers to the right. */
function align(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const cellsOf = (column: number) => rows.slice(1).flatMap((row) => row[column] || []);
  const isNumber = widths.map((_, column) => cellsOf(column).every((cell) => /^[\d.,]+%?$/.test(cell)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => (isNumber[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join(" | ")} |`;
  const rule = `|${widths.map((width, column) => `${"-".repeat(width + 1)}${isNumber[column] ? ":" : "-"}`).join("|")}|`;
  const [head = [], ...body] = rows;
  return [line(head), rule, ...body.map(line)].join("\n");
}
