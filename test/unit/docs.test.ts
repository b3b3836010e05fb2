import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { variableNames } from "../../src/config/variables.ts";
import { LEDGER_ENTRY_TYPES } from "../../src/infra/payment/payment-gateway.ts";
import { FULFILLMENT_STATES, PAYMENT_STATES } from "../../src/order/state/order-state.ts";
import { TRANSITIONS } from "../../src/order/state/transitions.ts";
import { methodsTable } from "../support/contract/methods-table.ts";
import { stateDiagram, transitionsTable } from "../support/docs/order-states.ts";
import { blocksOf, commandsOf, type Page, readPages, root } from "../support/docs/pages.ts";
import { findReplacedWords } from "../support/docs/word-list.ts";

// What can be checked of the documentation without a shop. test/e2e/docs runs its commands and programs.
const docs = readPages("docs/**/*.md");
const pages = [...readPages("README.md", "CONTRIBUTING.md", "CHANGELOG.md"), ...docs];
const texts = [...pages, ...readPages(".env.example", "docker-compose.yml", "Dockerfile")];

const pageAt = (path: string): Page => {
  const page = pages.find((one) => one.path === path);
  if (page === undefined) throw new Error(`${path} is missing`);
  return page;
};
const read = (path: string) => readFileSync(join(root, path), "utf8");

/** Returns the page's prose: its text without code. */
const proseOf = ({ text }: Page) => text.replace(/^```[\s\S]*?^```$/gm, "").replace(/`[^`\n]*`/g, "");

/** Returns the anchors of the page's headings, as GitHub makes them. */
const anchorsOf = ({ text }: Page) =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );

test("the README has at most 150 lines", () => {
  expect(read("README.md").trimEnd().split("\n").length).toBeLessThanOrEqual(150);
});

test("the index of the documentation links to each page", () => {
  const indexes = ["docs/README.md", "docs/clients/README.md", "docs/decisions/README.md"].map(pageAt);
  const linked = indexes.flatMap((page) => linksOf(page).map(({ path }) => path));
  for (const { path } of docs) if (path !== "docs/README.md") expect(linked).toContain(path);
});

interface Link {
  /** Path from the root. */
  path: string;
  anchor: string | undefined;
}

/** Returns the page's links to files of the repository. */
function linksOf(page: Page): Link[] {
  return [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^https?:/.test(target))
    .map((target) => {
      const [file = "", anchor] = target.split("#");
      const absolute = file === "" ? join(root, page.path) : resolve(root, dirname(page.path), file);
      return { path: absolute.slice(root.length), anchor };
    });
}

describe.each(pages)("$path", (page) => {
  test("links only to files and headings that exist", () => {
    for (const { path, anchor } of linksOf(page)) {
      expect(existsSync(join(root, path)), `${page.path} links to ${path}`).toBe(true);
      if (anchor !== undefined) expect(anchorsOf(pageAt(path)), `${path} has headings`).toContain(anchor);
    }
  });

  test("closes each of its code blocks", () => {
    expect([...page.text.matchAll(/^```/gm)].length).toBe(2 * blocksOf(page).length);
  });

  test("shows in console blocks nothing but commands and their output", () => {
    for (const block of blocksOf(page)) {
      if (block.language === "console") expect(commandsOf(block).length).toBeGreaterThan(0);
    }
  });

  test("names only source files and folders that exist", () => {
    const named = [...page.text.matchAll(/`((?:src|test|proto|bench|gen|docs)\/[\w./-]+)`/g)];
    for (const [, path = ""] of named) expect(existsSync(join(root, path)), path).toBe(true);
  });
});

test.each(texts)("$path names only npm scripts that exist", ({ text }) => {
  const { scripts } = JSON.parse(read("package.json"));
  for (const [, script = ""] of text.matchAll(/npm run (?:-\S+ )*([\w:]+)/g)) {
    expect(scripts).toHaveProperty([script]);
  }
});

test.each(texts)("$path uses standard terms", (page) => {
  expect(findReplacedWords(proseOf(page))).toEqual([]);
});

test.each([
  ["docs/methods.md", "methods", methodsTable],
  ["docs/orders.md", "states", stateDiagram],
  ["docs/orders.md", "transitions", transitionsTable],
])("%s has the %s that are generated from the code", (path, name, generate) => {
  const between = new RegExp(`(<!-- ${name} -->\n)([\\s\\S]*?)(<!-- /${name} -->)`);
  const expected = `${generate()}\n`;
  if (process.env.DOCS === "write") {
    const updated = read(path).replace(between, (_all, start, _old, end) => `${start}${expected}${end}`);
    writeFileSync(join(root, path), updated);
  } else {
    expect(between.exec(read(path))?.[2]).toBe(expected);
  }
});

test("docs/configuration.md lists each variable, in the order of .env.example, with its default", () => {
  const example = [...read(".env.example").matchAll(/^([A-Z_]+)=(.*)$/gm)].map(
    ([, name = "", value = ""]) => ({
      name,
      value,
    }),
  );
  const rows = [...pageAt("docs/configuration.md").text.matchAll(/^\| ([A-Z_]+) \| ([^|]*) \|/gm)];
  expect(rows.map(([, name]) => name)).toEqual(
    example.map(({ name }) => name).filter((name) => name !== "POSTGRES_PASSWORD"),
  );
  expect(rows.map(([, name]) => name).sort()).toEqual([...variableNames].sort());
  for (const [, name = "", cell = ""] of rows) {
    const value = example.find((variable) => variable.name === name)?.value ?? "";
    // An empty value has a default that is described in words.
    if (value !== "") expect(cell, name).toBe(`\`${value}\``);
    else expect(cell, name).not.toMatch(/^`[^`]*`$/);
  }
});

/** The variables that docker-compose.yml does not set, and why. */
const NOT_IN_COMPOSE: Readonly<Record<string, string>> = {
  HOST: "the image listens on all addresses of its container",
  PORT: "the container listens on 8080, which is published on PORT of the host",
  TLS_CERT_FILE: "the container has no certificate files",
  TLS_KEY_FILE: "the container has no certificate files",
};

test("docker-compose.yml passes each variable to the service, with the default of .env.example", () => {
  const [, service = ""] = read("docker-compose.yml").split("\n  cartwright:\n");
  const passed = new Map(
    [...service.matchAll(/^ {6}([A-Z_]+): (.*)$/gm)].map(([, name = "", value = ""]) => [name, value]),
  );
  expect([...passed.keys(), ...Object.keys(NOT_IN_COMPOSE)].sort()).toEqual([...variableNames].sort());
  for (const [, name = "", value] of read(".env.example").matchAll(/^([A-Z_]+)=(.+)$/gm)) {
    const [, variable, given] = /^\$\{([A-Z_]+):-(.*)\}$/.exec(passed.get(name) ?? "") ?? [];
    if (variable !== undefined) expect([variable, given]).toEqual([name, value]);
  }
});

test.each(readPages("docs/clients/*.md").filter((page) => blocksOf(page).length > 0))(
  "$path saves each of its programs to a file and runs it",
  (page) => {
    const blocks = blocksOf(page);
    const programs = blocks.filter(({ language }) => ["go", "java", "js", "python", "ts"].includes(language));
    expect(programs.length).toBeGreaterThan(0);
    expect(programs.filter(({ file }) => file === undefined)).toEqual([]);
    expect(blocks.flatMap(commandsOf).length).toBeGreaterThanOrEqual(programs.length);
  },
);

test("docs/architecture.md names the folders of src and theirs", () => {
  const folders = globSync(["src/*/", "src/*/*/"], { cwd: root }).map((folder) => basename(folder));
  const { text } = pageAt("docs/architecture.md");
  expect(folders.length).toBeGreaterThan(20);
  expect(folders.filter((folder) => !text.includes(`${folder}/`))).toEqual([]);
});

describe("docs/errors.md", () => {
  const sources = readPages("src/**/*.ts");
  const rows = pageAt("docs/errors.md").text.match(/^\| .*\|$/gm) ?? [];
  const named = rows.slice(2).flatMap(
    (row) =>
      row
        .split("|")
        .at(-2)
        ?.match(/[A-Z]+(?:_[A-Z]+)+/g) ?? [],
  );
  /** Constants that look like reasons: variables, a file, kinds of database faults, types of preconditions. */
  const NOT_REASONS = [
    ...variableNames,
    "PG_VERSION",
    "POOL_EXHAUSTED",
    "CONNECTION_LOST",
    "PURCHASE_LIMIT",
    "NOT_EMPTY",
    "ORDER_VALUE",
    "SHIPPING_OPTION",
    "SHIPPING_ADDRESS",
    "Z_BUF_ERROR",
    "ORDER_RETURN",
    "BANK_TRANSFER",
    "AT_SHIPMENT",
    "AT_ORDER",
    "ACTION_REQUIRED",
    "REFUND_REQUESTED",
    "IN_DOUBT",
    "REQUEST_FAILED",
    "AUTHORIZATION_ENDS",
    "AMOUNT_CONFLICT",
    "CURRENCY_MISMATCH",
    "UNKNOWN_PAYMENT",
    "WRONG_PAYMENT",
    "CAPTURED_MISMATCH",
    "REFUNDED_MISMATCH",
    ...LEDGER_ENTRY_TYPES,
    ...PAYMENT_STATES,
    ...FULFILLMENT_STATES,
    ...Object.entries(TRANSITIONS).flatMap(([name, { events }]) => [name, ...events]),
  ];

  test("names only reasons that the service sends", () => {
    for (const reason of named) {
      // These are composed of a resource type and of a role.
      const isComposed =
        /^(PRODUCT|ORDER|ORDER_ITEM|FULFILLMENT|SHIPPING_ZONE|TAX_ZONE|PAYMENT|DISCREPANCY|JOB)_NOT_FOUND$|^(STAFF|ADMIN)_ONLY$/.test(
          reason,
        );
      expect(isComposed || sources.some(({ text }) => text.includes(`"${reason}"`)), reason).toBe(true);
    }
  });

  test("names each reason that the service sends", () => {
    const constants = sources.flatMap(({ text }) => text.match(/(?<=")[A-Z]+(?:_[A-Z]+)+(?=")/g) ?? []);
    const reasons = constants.filter((one) => !NOT_REASONS.includes(one) && !one.startsWith("ERR_"));
    expect(new Set(reasons).size).toBeGreaterThan(50);
    expect([...new Set(reasons)].filter((reason) => !named.includes(reason))).toEqual([]);
  });
});

test.each([
  ["README.md", "Figures"],
  ["docs/performance.md", "What the last run shows"],
])("%s has the figures of the last bench run under %s", (path, heading) => {
  const [, section = ""] = new RegExp(`^## ${heading}\\n([\\s\\S]*?)^## `, "m").exec(pageAt(path).text) ?? [];
  const results = (section.match(/^\|.*\|$/gm) ?? []).map((row) => row.split("|")[2] ?? "");
  // The names of percentiles are no figures.
  const figures = results.flatMap((cell) => cell.match(/(?<!p)\b\d[\d,]*(?:\.\d+)?/g) ?? []);
  const measured = new Set(read("bench/RESULTS.md").match(/\d[\d,]*(?:\.\d+)?/g));
  expect(figures.length).toBeGreaterThan(8);
  for (const figure of figures) expect(measured).toContain(figure);
});
