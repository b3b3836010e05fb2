import { execFile } from "node:child_process";
import { accessSync, constants, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { methodsTable } from "../support/methods-table.ts";
import { startShop, type TestShop } from "../support/shop.ts";

// The README's calls are made as they stand there, against a real shop with the demo's data, and their output
// is held against what is printed there. README=write puts what they print today into it.
const root = fileURLToPath(new URL("../..", import.meta.url));
const file = join(root, "README.md");
const write = process.env.README === "write";
let text = readFileSync(file, "utf8");

const path = [join(root, "node_modules/.bin"), process.env.PATH, join(process.env.HOME ?? "", "go/bin")].join(
  delimiter,
);

/** Whether a program can be found, as a shell would. */
function has(program: string): boolean {
  return path.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** A command of the README and what it prints there. */
interface Example {
  command: string;
  output: string;
  /** The text in the README that holds both. */
  block: string;
}

const examples: Example[] = [...text.matchAll(/```console\n([\s\S]*?)```/g)].flatMap(([, body = ""]) =>
  body
    .split(/^(?=\$ )/m)
    .filter((block) => block.startsWith("$ "))
    .map((block) => {
      const lines = block.split("\n");
      let end = 0;
      while (lines[end]?.endsWith("\\")) end += 1;
      const command = lines
        .slice(0, end + 1)
        .join("\n")
        .slice(2);
      return {
        command,
        output: lines
          .slice(end + 1)
          .join("\n")
          .trimEnd(),
        block,
      };
    }),
);

/** What differs from run to run and from shop to shop: new ids, times, tokens. */
function normalized(output: string): string {
  return output
    .trimEnd()
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "<uuid>")
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>")
    .replace(/("(?:nextPage|access|refresh)Token": ?)"[\w.-]+"/g, '$1"<token>"')
    .replace(/^date: .*$/gim, "date: <time>");
}

let shop: TestShop;
/** A file of the shell's variables, which later commands find as earlier ones have left them. */
let environment: string;
beforeAll(async () => {
  // As it is for a newcomer, but for the database.
  shop = await startShop({ SEED_DEMO: "on", ACCESS: "on", LIMITS: "on" });
  environment = join(mkdtempSync(join(tmpdir(), "cartwright-readme-")), "environment");
  writeFileSync(environment, "");
});
afterAll(async () => {
  await shop.close();
  rmSync(dirname(environment), { recursive: true });
  if (write) writeFileSync(file, text);
});

async function run(command: string, args: string[]): Promise<string> {
  const PASSWORD = shop.app.demo?.password ?? "";
  const env = { ...process.env, PATH: path, SHOP_URL: shop.url, PASSWORD };
  const options = { cwd: root, env };
  const { stdout, stderr } = await promisify(execFile)(command, args, options).catch(
    // A call that is shown to fail ends with a code of its own.
    (error: { stdout: string; stderr: string }) => error,
  );
  return `${stdout}${stderr}`;
}

/** Runs a command where those before it were run. */
const inShell = (command: string) =>
  run("bash", ["-c", `set -a; . ${environment}; ${command}\nexport -p > ${environment}`]);

describe("the README's calls print what it says", () => {
  test("there are some", () => expect(examples.length).toBeGreaterThanOrEqual(8));

  test.for(examples)("$command", async ({ command, output, block }, { skip }) => {
    const [, program = ""] = /^(?:\w+=\$\()?(\w+)/.exec(command) ?? [];
    if (!has(program)) skip(`${program} is not installed here`);
    const { host } = new URL(shop.url);
    const printed = (await inShell(command.replaceAll("localhost:8080", host))).replaceAll(
      host,
      "localhost:8080",
    );
    const shown = printed.trimEnd().replace(/("(?:access|refresh)Token": ?"[\w-]{12})[\w.-]+"/g, '$1..."');
    const end = `${shown === "" ? "" : `${shown}\n`}${block.endsWith("\n\n") ? "\n" : ""}`;
    if (write) text = text.replace(block, () => `$ ${command}\n${end}`);
    else expect(normalized(printed)).toBe(normalized(output));
  });
});

test("the README's program runs as it stands there", async () => {
  const [, program = ""] = /```js\n([\s\S]*?)```/.exec(text) ?? [];
  const [, output = ""] = /It prints:\n\n```text\n([\s\S]*?)```/.exec(text) ?? [];
  const folder = join(root, "dist/readme");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "example.mjs"), program);
  const printed = await run(process.execPath, [join(folder, "example.mjs")]);
  rmSync(folder, { recursive: true });
  if (write)
    text = text.replace(/(It prints:\n\n```text\n)[\s\S]*?```/, (_all, head) => `${head}${printed}\`\`\``);
  else expect(normalized(printed)).toBe(normalized(output));
});

test("the README's table of methods is that of the contracts", () => {
  const between = /(<!-- methods -->\n)([\s\S]*?)(<!-- \/methods -->)/;
  const expected = `${methodsTable()}\n`;
  if (write) text = text.replace(between, (_all, start, _old, end) => `${start}${expected}${end}`);
  else expect(between.exec(text)?.[2]).toBe(expected);
});

test("the README names each variable of .env.example with its default, and the scripts that there are", () => {
  const defaults = [...readFileSync(join(root, ".env.example"), "utf8").matchAll(/^([A-Z_]+)=(.*)$/gm)];
  for (const [, name = ""] of defaults) if (name !== "POSTGRES_PASSWORD") expect(text).toContain(name);
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  for (const [, script = ""] of text.matchAll(/npm run ([\w:]+)/g)) expect(scripts).toHaveProperty([script]);
});
