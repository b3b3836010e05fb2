import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  blocksOf,
  commandsOf,
  nameOf,
  normalized,
  readPages,
  root,
  withOutput,
} from "../../support/docs/pages.ts";
import { createWorkspace, missingTool } from "../../support/docs/workspace.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

// Follows each page of docs/clients as a reader would: saves its files, runs its setup, runs its programs against
// a shop and compares what they print. DOCS=write puts the output of today into the pages.
const isWriting = process.env.DOCS === "write";
const pages = readPages("docs/clients/*.md").filter((page) => blocksOf(page).length > 0);
/** Compilers and package managers at work, on a machine that does other things as well. */
const TIMEOUT_MS = 600_000;

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop({ SEED_DEMO: "on", ACCESS: "on", LIMITS: "on" });
});
afterAll(() => shop.close());

test("there are programs in TypeScript, Go, Python and Java", () => {
  const languages = pages.flatMap(blocksOf).map(({ language }) => language);
  expect(new Set(languages)).toEqual(
    new Set(["js", "ts", "go", "python", "java", "sh", "console", "yaml", "xml"]),
  );
});

describe("a reader who follows the page has a program that prints what the page shows", () => {
  test.concurrent.for(pages)(
    "$path",
    { timeout: TIMEOUT_MS },
    async (page, { expect, onTestFinished, skip }) => {
      const blocks = blocksOf(page);
      const commands = blocks.filter(({ language }) => language === "sh" || language === "console");
      const tool = missingTool(commands.map(({ body }) => body).join("\n"));
      if (tool !== undefined) skip(`${tool} is not installed`);
      const workspace = await createWorkspace(shop, nameOf(page));
      onTestFinished(() => workspace.remove());
      let { text } = page;
      for (const block of blocks) if (block.file !== undefined) await workspace.write(block.file, block.body);
      for (const block of blocks) {
        if (block.language === "sh") {
          const { output, exitCode } = await workspace.run(`set -e\n${block.body}`);
          expect(exitCode, output).toBe(0);
        }
        for (const shown of commandsOf(block)) {
          const { output } = await workspace.run(shown.command);
          if (isWriting) text = withOutput(text, shown, output);
          else expect(normalized(output)).toBe(normalized(shown.output));
        }
      }
      if (isWriting) writeFileSync(join(root, page.path), text);
    },
  );
});
