import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  blocksOf,
  commandsOf,
  nameOf,
  normalized,
  type Page,
  readPages,
  root,
  withOutput,
} from "../../support/docs/pages.ts";
import { createWorkspace, missingTool, type Workspace } from "../../support/docs/workspace.ts";
import { startShop, type TestShop } from "../../support/shop.ts";

// Runs the commands of README and docs in order, against a shop with the demo, and compares their output.
// DOCS=write puts the output of today into the pages.
const isWriting = process.env.DOCS === "write";
const pages = readPages("README.md", "docs/*.md");

let shop: TestShop;
beforeAll(async () => {
  // A reader does not sign in on all pages within one minute.
  shop = await startShop({ SEED_DEMO: "on", ACCESS: "on", LIMITS: "on", LIMIT_AUTH: "100/60" });
});
afterAll(() => shop.close());

test("the pages show at least the 25 commands that the first README had", () => {
  expect(pages.flatMap(blocksOf).flatMap(commandsOf).length).toBeGreaterThanOrEqual(25);
});

const isRun = (page: Page) =>
  blocksOf(page).some(({ language }) => ["console", "js", "ts"].includes(language));

describe.each(pages.filter(isRun))("$path", (page) => {
  let workspace: Workspace;
  let { text } = page;
  beforeAll(async () => {
    workspace = await createWorkspace(shop, nameOf(page));
  });
  afterAll(async () => {
    await workspace.remove();
    if (isWriting) writeFileSync(join(root, page.path), text);
  });

  test.for(blocksOf(page).flatMap(commandsOf))(
    "$command prints what the page shows",
    async (shown, { skip }) => {
      const tool = missingTool(shown.command);
      if (tool !== undefined) skip(`${tool} is not installed`);
      const { output } = await workspace.run(shown.command, root);
      if (isWriting) text = withOutput(text, shown, output);
      else expect(normalized(output)).toBe(normalized(shown.output));
    },
  );

  const programs = blocksOf(page).filter(({ language }) => language === "ts" || language === "js");
  test.for(programs)("its $language program runs", async ({ language, body }) => {
    await workspace.installClient();
    await workspace.write(`program.${language}`, body);
    expect(await workspace.run(`node program.${language}`)).toEqual({ output: "", exitCode: 0 });
  });
});
