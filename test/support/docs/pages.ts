import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const root = fileURLToPath(new URL("../../..", import.meta.url));

/** A page of the documentation. */
export interface Page {
  /** Path from the root, such as docs/orders.md. */
  path: string;
  text: string;
}

/** A fenced block of code. */
export interface Block {
  language: string;
  /** The file that the block is to be saved as: the rest of its first line, as in "```go main.go". */
  file: string | undefined;
  body: string;
}

/** A command of a console block and the output that the page shows for it. */
export interface Command {
  command: string;
  output: string;
  /** The text of the page that holds both. */
  source: string;
}

/** Returns the pages whose paths match a pattern, by path. */
export function readPages(...patterns: string[]): Page[] {
  const paths = patterns.flatMap((pattern) => globSync(pattern, { cwd: root }).sort());
  return paths.map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
}

/** Returns the page's fenced blocks, in order. */
export function blocksOf({ text }: Page): Block[] {
  return [...text.matchAll(/^```(\w+)(?: ([^\n]+))?\n([\s\S]*?)^```$/gm)].map(
    ([, language = "", file, body = ""]) => ({ language, file, body }),
  );
}

/** Returns the commands of a console block: each begins with "$ " and goes on while lines end with "\". */
export function commandsOf({ language, body }: Block): Command[] {
  if (language !== "console") return [];
  const sources = body.split(/^(?=\$ )/m).filter((source) => source.startsWith("$ "));
  return sources.map((source) => {
    const lines = source.split("\n");
    const last = lines.findIndex((line, index) => {
      const quotes =
        lines
          .slice(0, index + 1)
          .join("")
          .split("'").length - 1;
      return !line.endsWith("\\") && quotes % 2 === 0;
    });
    const command = lines
      .slice(0, last + 1)
      .join("\n")
      .slice(2);
    const output = lines.slice(last + 1).join("\n");
    return { command, output: output.trimEnd(), source };
  });
}

/**
 * Returns the page's text with the printed output of a command, tokens shortened. Output that differs only in ids,
 * times and tokens stays as it is.
 */
export function withOutput(text: string, { command, output, source }: Command, printed: string): string {
  if (normalized(printed) === normalized(output)) return text;
  const shown = printed.replace(/("(?:access|refresh)Token": ?"[\w-]{12})[\w.-]+"/g, '$1..."').trimEnd();
  const blankLine = source.endsWith("\n\n") ? "\n" : "";
  return text.replace(source, () => `$ ${command}\n${shown === "" ? "" : `${shown}\n`}${blankLine}`);
}

/** Replaces what differs between runs and shops: ids, times, tokens. */
export function normalized(output: string): string {
  return output
    .trimEnd()
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "<uuid>")
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>")
    .replace(/("(?:nextPage|access|refresh)Token": ?)"[\w.-]+"/g, '$1"<token>"')
    .replace(/^date: .*$/gim, "date: <time>");
}

/** Returns the name of a page without folder and ending, such as "orders". */
export const nameOf = ({ path }: Page): string => basename(path, ".md");
