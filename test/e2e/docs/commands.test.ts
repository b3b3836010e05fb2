import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  blocksOf,
  type Command,
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
  shop = await startShop({
    SEED_DEMO: "on",
    ACCESS: "on",
    LIMITS: "on",
    LIMIT_AUTH: "100/60",
    PAYMENT_GATEWAY: "sandbox",
  });
});
afterAll(() => shop.close());

test("the pages show at least the 25 commands that the first README had", () => {
  expect(pages.flatMap(blocksOf).flatMap(commandsOf).length).toBeGreaterThanOrEqual(25);
});

const isRun = (page: Page) =>
  blocksOf(page).some(({ language }) => ["console", "js", "ts"].includes(language));

/** Whether a page runs programs, in a project beside the checkout. */
const hasProject = (page: Page) =>
  blocksOf(page)
    .flatMap(commandsOf)
    .some(({ command }) => /\bnode \S+\.ts\b/.test(command));

/** Writes the output into the page as it is now: test/unit/docs.test.ts writes generated parts of it meanwhile. */
function writeOutput({ path }: Page, shown: Command, output: string): void {
  const file = join(root, path);
  writeFileSync(file, withOutput(readFileSync(file, "utf8"), shown, output));
}

describe.each(pages.filter(isRun))("$path", (page) => {
  let workspace: Workspace;
  beforeAll(async () => {
    workspace = await createWorkspace(shop, nameOf(page));
    if (!hasProject(page)) return;
    await workspace.installClient();
    for (const { file, body } of blocksOf(page)) if (file !== undefined) await workspace.write(file, body);
  });
  afterAll(() => workspace.remove());

  test.for(blocksOf(page).flatMap(commandsOf))(
    "$command prints what the page shows",
    async (shown, { skip }) => {
      const tool = missingTool(shown.command);
      if (tool !== undefined) skip(`${tool} is not installed`);
      const { output } = await workspace.run(shown.command, hasProject(page) ? undefined : root);
      if (isWriting) writeOutput(page, shown, output);
      else expect(normalized(output)).toBe(normalized(shown.output));
    },
  );

  // Those with a file name are run by the commands of the page.
  const programs = blocksOf(page).filter(
    ({ language, file }) => file === undefined && (language === "ts" || language === "js"),
  );
  test.for(programs)("its $language program runs", async ({ language, body }) => {
    await workspace.installClient();
    await workspace.write(`program.${language}`, body);
    expect(await workspace.run(`node program.${language}`)).toEqual({ output: "", exitCode: 0 });
  });
});
